// What operators see: the metrics page, health, reflection, channelz, TLS, an orderly stop.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/metrics_text.h"
#include "tests/server/test_server.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

using testing::HasSubstr;
using testing::Not;

// One raw unary call.
struct RawReply {
  grpc::Status status;
  std::string bytes;
};
RawReply Raw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice empty("");
  grpc::ByteBuffer reply;
  RawReply result;
  const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(&empty, 1), &queue);
  call->StartCall();
  call->Finish(&reply, &result.status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  EXPECT_TRUE(queue.Next(&tag, &ok));
  std::vector<grpc::Slice> slices;
  if (result.status.ok() && reply.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) result.bytes.append(slice.begin(), slice.end());
  }
  return result;
}

// HealthCheckResponse with field `status`.
constexpr char kServing[] = "\x08\x01";
constexpr char kNotServing[] = "\x08\x02";
std::string HealthOf(const TestServer& server) {
  return Raw(server.channel(), "/grpc.health.v1.Health/Check").bytes;
}

bool HasCommand(const std::string& command) {
  return std::system(absl::StrCat("command -v ", command, " > /dev/null 2>&1").c_str()) == 0;
}

std::string TempPath(const std::string& name) {
  return testing::TempDir() + "/h2bd_operator_" + name;
}

std::string FileText(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// promtool's complaints; "" when there are none.
std::string Promtool(const std::string& metrics) {
  const std::string in = TempPath("metrics.txt"), out = TempPath("promtool.txt");
  std::ofstream(in) << metrics;
  const int code =
      std::system(absl::StrCat("promtool check metrics < ", in, " > ", out, " 2>&1").c_str());
  const std::string complaints = FileText(out);
  return code == 0 ? "" : absl::StrCat("exit ", code, "\n", complaints);
}

TEST(MetricsPage, PassesPromtool) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  server.Write(disk, 0, std::string(100'000, 'x'));
  server.Read(disk, 0, 1000);
  TestChannel channel(server.io());
  channel.Call(WriteFrame(1, channel.Open(disk), 0, "x"));
  channel.Call(PlainFrame(2, v1::CHANNEL_OP_SYNC, 0));
  channel.Finish();
  const auto [code, text] = server.Get("/metrics");
  EXPECT_EQ(code, 200);
  EXPECT_THAT(text, HasSubstr("h2bd_rpc_calls_total{method=\"IoService.Write\",code=\"OK\"} 1"));
  EXPECT_THAT(text, HasSubstr("h2bd_rpc_calls_total{method=\"Channel.WRITE\",code=\"OK\"} 1"));
  EXPECT_THAT(text, HasSubstr("h2bd_rpc_received_payload_bytes_total 100001"));
  EXPECT_THAT(text, HasSubstr("h2bd_rpc_sent_payload_bytes_total 1000"));
  EXPECT_THAT(text, HasSubstr("# TYPE h2bd_rpc_duration_seconds histogram"));
  EXPECT_THAT(text, HasSubstr("h2bd_flush_cycles_total"));
  EXPECT_THAT(text, HasSubstr("h2bd_durable_opseq"));
  EXPECT_THAT(text, HasSubstr("h2bd_build_info{version="));
  if (!HasCommand("promtool")) {
    return SkipLoudly("promtool is not installed: the exposition is not checked by it");
  }
  EXPECT_EQ(Promtool(text), "");
  EXPECT_NE(Promtool("no_help_total 1\n"), "") << "the check itself must be able to fail";
}

TEST(MetricsText, HistogramsAreCumulativeAndLabelsEscaped) {
  FamilyCollector collector;
  static constexpr double kBounds[] = {1, 2};
  Histogram histogram(kBounds);
  for (const double value : {0.5, 1.5, 1.6, 9.0}) histogram.Observe(value);
  collector.OnHistogram("h2bd_x_seconds", "Help.", {{"disk", "a\"b\\c\n\xFF"}}, histogram);
  collector.OnCounter("h2bd_y_total", "Help y.", {{"k", "1"}}, 3);
  collector.OnGauge("h2bd_z", "Help z.", {}, -1);
  collector.OnCounter("h2bd_y_total", "Help y.", {{"k", "2"}}, 4);
  const std::string text = MetricsText(collector.Take());
  EXPECT_THAT(text, HasSubstr("le=\"1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("le=\"2\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("le=\"+Inf\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("_count{disk=\"a\\\"b\\\\c\\n\xEF\xBF\xBD\"} 4"));
  EXPECT_THAT(text, HasSubstr("h2bd_y_total{k=\"1\"} 3\nh2bd_y_total{k=\"2\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("h2bd_z -1\n"));
}

TEST(Health, FollowsTheVolume) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  server.Write(disk, 0, "kept");
  EXPECT_EQ(HealthOf(server), kServing);
  EXPECT_EQ(server.Get("/healthz"), std::make_pair(200, std::string("ok\n")));

  server.device().Break();
  grpc::Status status;
  v1::SyncResponse response;
  while (ReasonOf(status) != "READ_ONLY_FAILSTOP") {
    grpc::ClientContext context;
    status = server.io().Sync(&context, v1::SyncRequest(), &response);
    ASSERT_FALSE(status.ok()) << "nobody is told that data is safe (P4)";
  }
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  while (HealthOf(server) != kNotServing) std::this_thread::yield();
  const auto [code, text] = server.Get("/healthz");
  EXPECT_EQ(code, 503);
  EXPECT_NE(text, "");
  EXPECT_EQ(server.Read(disk, 0, 4), "kept") << "reads go on (P4)";
  grpc::ClientContext write_context;
  v1::WriteResponse written;
  EXPECT_EQ(ReasonOf(server.io().Write(&write_context, NewWrite(disk, 0, "x"), &written)),
            "READ_ONLY_FAILSTOP");
  grpc::ClientContext get_context;
  v1::GetVolumeResponse got;
  ASSERT_TRUE(server.volumes().GetVolume(&get_context, v1::GetVolumeRequest(), &got).ok());
  EXPECT_TRUE(got.volume().has_failure());
}

TEST(Plugins, ReflectionAndChannelzAnswer) {
  TestServer server;
  EXPECT_TRUE(Raw(server.channel(), "/grpc.channelz.v1.Channelz/GetServers").status.ok());
  grpc::GenericStub stub(server.channel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto stream = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  stream->StartCall(nullptr);
  ASSERT_TRUE(wait());
  const grpc::Slice list_services("\x3A\x01*");
  stream->Write(grpc::ByteBuffer(&list_services, 1), nullptr);
  ASSERT_TRUE(wait());
  grpc::ByteBuffer reply;
  stream->Read(&reply, nullptr);
  ASSERT_TRUE(wait());
  grpc::Slice slice;
  ASSERT_TRUE(reply.DumpToSingleSlice(&slice).ok());
  const std::string services(slice.begin(), slice.end());
  for (const char* service : {"h2bd.v1.DiskService", "h2bd.v1.IoService",
                              "h2bd.v1.TransactionService", "h2bd.v1.VolumeService"}) {
    EXPECT_THAT(services, HasSubstr(service));
  }
  context.TryCancel();
  grpc::Status status;
  stream->Finish(&status, nullptr);
  wait();
}

TEST(Listening, ASecondServerOnTheAddressIsRefused) {
  TestServer server;
  ServerConfig config = server.config();
  config.listen.port = static_cast<uint16_t>(server.server().grpc_port());
  EXPECT_EQ(Server::Start(config, server.volume(), SystemClock(), NullLogger()).status().code(),
            absl::StatusCode::kUnavailable);
  config = server.config();
  config.metrics.port = static_cast<uint16_t>(server.server().metrics_port());
  EXPECT_EQ(Server::Start(config, server.volume(), SystemClock(), NullLogger()).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(Listening, AUnixSocketServesToo) {
  const std::string path = TempPath("socket");
  TestServer server([&path](ServerConfig& config) {
    config.listen = {path, 0, /*unix_socket=*/true};
    config.metrics_enabled = false;
  });
  EXPECT_EQ(server.server().metrics_port(), 0);
  const std::string disk = server.CreateDisk("vm1", kMiB);
  server.Write(disk, 0, "unix");
  EXPECT_EQ(server.Read(disk, 0, 4), "unix");
}

// A self-signed certificate for localhost, which is its own CA.
bool MakeCertificate(const std::string& key, const std::string& cert) {
  const std::string command =
      absl::StrCat("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes ",
                   "-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout ", key,
                   " -out ", cert, " > /dev/null 2>&1");
  return std::system(command.c_str()) == 0;
}

grpc::Status GetVolume(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
  v1::GetVolumeResponse response;
  return v1::VolumeService::NewStub(channel)->GetVolume(&context, v1::GetVolumeRequest(),
                                                        &response);
}

TEST(Tls, ServesWithACertificateAndAsksForOne) {
  if (!HasCommand("openssl")) return SkipLoudly("openssl is not installed: TLS is not tested");
  const std::string key = TempPath("key.pem"), cert = TempPath("cert.pem");
  ASSERT_TRUE(MakeCertificate(key, cert));
  TestServer server([&](ServerConfig& config) {
    config.tls = {.cert_path = cert, .key_path = key, .client_ca_path = cert};
  });
  grpc::SslCredentialsOptions options{.pem_root_certs = FileText(cert)};
  const std::string target = absl::StrCat("localhost:", server.server().grpc_port());
  EXPECT_FALSE(GetVolume(grpc::CreateChannel(target, grpc::SslCredentials(options))).ok())
      << "without a client certificate";
  EXPECT_FALSE(GetVolume(grpc::CreateChannel(target, grpc::InsecureChannelCredentials())).ok())
      << "without TLS";
  options.pem_private_key = FileText(key);
  options.pem_cert_chain = FileText(cert);
  const grpc::Status status = GetVolume(grpc::CreateChannel(target, grpc::SslCredentials(options)));
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST(Tls, FilesThatCannotBeUsedAreRefused) {
  TestServer server;
  ServerConfig config = server.config();
  config.tls = {.cert_path = "/nonexistent/cert.pem", .key_path = "/nonexistent/key.pem"};
  EXPECT_EQ(Server::Start(config, server.volume(), SystemClock(), NullLogger()).status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::string garbage = TempPath("garbage.pem");
  std::ofstream(garbage) << "not a key";
  config.tls = {.cert_path = garbage, .key_path = garbage};
  EXPECT_EQ(Server::Start(config, server.volume(), SystemClock(), NullLogger()).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(Stop, FinishesWhatIsInFlightAndRefusesTheRest) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  TestChannel idle(server.io());
  idle.Open(disk);
  TestChannel busy(server.io());
  const uint32_t handle = busy.Open(disk);
  EXPECT_EQ(busy.Call(WriteFrame(1, handle, 0, "accepted")).code(), 0);
  server.device().Hold(true);
  ASSERT_TRUE(busy.Send(PlainFrame(2, v1::CHANNEL_OP_SYNC, handle)));
  // The server has taken the Sync when it answers a read that was sent after it.
  EXPECT_EQ(busy.Call(ReadFrame(3, handle, 0, 8)).data(), "accepted");

  bool drained = false;
  std::thread stopper([&] { drained = server.server().Stop(absl::InfiniteDuration()); });
  EXPECT_FALSE(idle.Receive().has_value());
  const grpc::Status ended = idle.Status();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(ended), "SHUTTING_DOWN");
  const grpc::Status refused = GetVolume(server.channel());
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(refused), "SHUTTING_DOWN");
  EXPECT_EQ(HealthOf(server), kNotServing);

  server.device().Hold(false);
  const std::optional<v1::ChannelResponse> synced = busy.Receive();
  ASSERT_TRUE(synced.has_value()) << "what was in flight is answered";
  EXPECT_EQ(synced->id(), 2u);
  EXPECT_EQ(synced->code(), 0) << synced->message();
  EXPECT_FALSE(busy.Receive().has_value());
  EXPECT_EQ(ReasonOf(busy.Status()), "SHUTTING_DOWN");
  stopper.join();
  EXPECT_TRUE(drained);
  EXPECT_EQ(server.volume().Close(), absl::OkStatus());
}

TEST(Stop, CancelsWhatDoesNotEnd) {
  TestServer server([](ServerConfig& config) { config.options.dirty_limit_bytes = kMiB; });
  const std::string disk = server.CreateDisk("vm1", 64 * kMiB);
  server.device().Hold(true);
  TestChannel channel(server.io());
  const uint32_t handle = channel.Open(disk);
  uint64_t id = 0;
  for (; !server.NextWriteWaits(512 * kKiB); ++id) {
    EXPECT_EQ(
        channel.Call(WriteFrame(id, handle, id * 512 * kKiB, std::string(512 * kKiB, 'w'))).code(),
        0);
  }
  ASSERT_TRUE(channel.Send(WriteFrame(id, handle, 0, std::string(512 * kKiB, 'z'))));
  EXPECT_EQ(channel.Call(ReadFrame(id + 1, handle, 0, 1)).code(), 0) << "the write has been taken";
  EXPECT_FALSE(server.server().Stop(absl::Milliseconds(50)));
  EXPECT_FALSE(channel.Receive().has_value());
  EXPECT_FALSE(channel.Status().ok());
  server.device().Hold(false);
  EXPECT_EQ(server.volume().Close(), absl::OkStatus());
}

}  // namespace
}  // namespace h2bd
