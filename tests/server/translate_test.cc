// Resource names, status mapping, UTF-8, page tokens: what translates between the wire and core.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/disk_service.h"
#include "server/log.h"
#include "server/resource_names.h"
#include "server/status_map.h"
#include "server/transaction_service.h"
#include "server/utf8.h"

namespace h2bd {
namespace {

using testing::HasSubstr;

TEST(ResourceNames, DiskNamesRoundTrip) {
  struct Case {
    const char* wire;
    const char* pfs;
    std::string path;
  };
  for (const Case& c :
       {Case{"pfs/DATA/disks/vm1", "DATA", "vm1"}, Case{"pfs/DATA/disks/a/b", "DATA", "a/b"},
        Case{"pfs/%2D/disks/x", "-", "x"}, Case{"pfs/DATA/disks/100%25", "DATA", "100%"},
        Case{"pfs/DATA/disks/bad%FFutf8", "DATA", "bad\xFFutf8"},
        Case{"pfs/DATA/disks/nl%0A", "DATA", "nl\n"},
        Case{"pfs/DATA/disks/gr\xC3\xBC\xC3\x9F", "DATA", "gr\xC3\xBC\xC3\x9F"},
        Case{"pfs/DATA/disks/with space", "DATA", "with space"}}) {
    const absl::StatusOr<DiskName> name = ParseDiskName(c.wire);
    ASSERT_TRUE(name.ok()) << c.wire << ": " << name.status();
    EXPECT_EQ(name->pfs, c.pfs) << c.wire;
    EXPECT_EQ(name->path, c.path) << c.wire;
    EXPECT_EQ(FormatDiskName(*name), c.wire);
  }
}

TEST(ResourceNames, DashStandsForTheDefaultPfs) {
  EXPECT_EQ(ParseDiskName("pfs/-/disks/vm1")->pfs, "");
  EXPECT_EQ(*ParsePfsName("pfs/-"), "");
  EXPECT_EQ(*ParsePfsName("pfs/DATA"), "DATA");
  EXPECT_EQ(FormatPfsName("-"), "pfs/%2D") << "a label that is a dash must not become the default";
}

TEST(ResourceNames, BadNamesAreRefused) {
  const std::string long_name(256, 'x');
  for (const std::string& bad : {std::string(""),
                                 std::string("vm1"),
                                 std::string("pfs/"),
                                 std::string("pfs/DATA"),
                                 std::string("pfs/DATA/disks"),
                                 std::string("pfs/DATA/disks/"),
                                 std::string("pfs//disks/x"),
                                 std::string("pfs/DATA/disk/x"),
                                 std::string("pfs/DATA/disks/.."),
                                 std::string("pfs/DATA/disks/."),
                                 std::string("pfs/DATA/disks/a//b"),
                                 std::string("pfs/DATA/disks/a/../b"),
                                 std::string("pfs/DATA/disks/x/"),
                                 std::string("pfs/../disks/x"),
                                 std::string("pfs/DATA/disks/%"),
                                 std::string("pfs/DATA/disks/%4"),
                                 std::string("pfs/DATA/disks/%zz"),
                                 std::string("pfs/DATA/disks/%00"),
                                 std::string("pfs/DATA/disks/a%2Fb"),
                                 std::string("pfs/DATA/disks/%2E%2E"),
                                 std::string("pfs/DATA/disks/nul\0", 19),
                                 "pfs/DATA/disks/" + long_name,
                                 "pfs/" + long_name + "/disks/x",
                                 std::string("/pfs/DATA/disks/x")}) {
    EXPECT_EQ(ParseDiskName(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  EXPECT_TRUE(ParseDiskName("pfs/DATA/disks/" + std::string(255, 'x')).ok());
  for (const char* bad : {"", "a/b", "..", ".", "%2F"}) {
    EXPECT_FALSE(ParseDiskId(bad).ok()) << bad;
  }
  for (const char* bad : {"", "DATA", "pfs/a/b", "pfs/"}) {
    EXPECT_FALSE(ParsePfsName(bad).ok()) << bad;
  }
}

TEST(ResourceNames, TransactionNames) {
  EXPECT_EQ(ParseTransactionName("transactions/17")->v, 17u);
  EXPECT_EQ(FormatTransactionName(TxnId(17)), "transactions/17");
  for (const char* bad : {"", "17", "transactions/", "transactions/x", "transactions/-1",
                          "transactions/ 1", "transactions/99999999999999999999"}) {
    EXPECT_FALSE(ParseTransactionName(bad).ok()) << bad;
  }
}

// What a client finds in the trailer.
google::rpc::ErrorInfo InfoOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), status.error_code());
  EXPECT_EQ(details.message(), status.error_message());
  EXPECT_EQ(details.details_size(), 1);
  if (details.details_size() == 1) {
    EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.ErrorInfo");
    EXPECT_TRUE(details.details(0).UnpackTo(&info));
  }
  return info;
}

TEST(StatusMap, EveryCodeKeepsItsNumberAndGetsAReason) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    const grpc::Status wire = ToGrpcStatus(status);
    EXPECT_EQ(static_cast<int>(wire.error_code()), code);
    EXPECT_EQ(wire.error_message(), "why");
    const google::rpc::ErrorInfo info = InfoOf(wire);
    EXPECT_EQ(info.domain(), "h2bd");
    EXPECT_EQ(info.reason(), CodeName(static_cast<absl::StatusCode>(code)));
  }
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_STREQ(CodeName(absl::StatusCode::kDataLoss), "DATA_LOSS");
}

TEST(StatusMap, SpecialReasonsTravel) {
  const absl::Status failed =
      WithReason(absl::FailedPreconditionError("barrier failed"), kReasonReadOnlyFailstop);
  const grpc::Status wire = ToGrpcStatus(failed);
  EXPECT_EQ(wire.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(InfoOf(wire).reason(), "READ_ONLY_FAILSTOP");
}

TEST(StatusMap, MessagesAreBoundedUtf8) {
  const absl::Status status = absl::NotFoundError(std::string(5000, 'x') + "\xFF");
  EXPECT_LE(WireMessage(status).size(), 1024u);
  const std::string bad = WireMessage(absl::NotFoundError("a\xFF\x80z"));
  EXPECT_EQ(bad, "a\xEF\xBF\xBD\xEF\xBF\xBDz");
  EXPECT_EQ(InfoOf(ToGrpcStatus(absl::NotFoundError("\xFF"))).reason(), "NOT_FOUND");
}

TEST(Utf8, AcceptsExactlyTheLegalSequences) {
  struct Case {
    std::string bytes;
    size_t length;
  };
  for (const Case& c :
       {Case{"a", 1}, Case{"\x7F", 1}, Case{"\x80", 0}, Case{"\xC1\xBF", 0}, Case{"\xC2\x80", 2},
        Case{"\xDF\xBF", 2}, Case{"\xE0\x9F\xBF", 0}, Case{"\xE0\xA0\x80", 3},
        Case{"\xED\x9F\xBF", 3}, Case{"\xED\xA0\x80", 0}, Case{"\xEF\xBF\xBF", 3},
        Case{"\xF0\x8F\xBF\xBF", 0}, Case{"\xF0\x90\x80\x80", 4}, Case{"\xF4\x8F\xBF\xBF", 4},
        Case{"\xF4\x90\x80\x80", 0}, Case{"\xF5\x80\x80\x80", 0}, Case{"\xE2\x82", 0},
        Case{"", 0}}) {
    EXPECT_EQ(Utf8Length(c.bytes), c.length) << testing::PrintToString(c.bytes);
  }
}

TEST(PageToken, BelongsToItsParent) {
  const std::string token = FormatPageToken("pfs/DATA", "core-token\n/with+bytes");
  EXPECT_EQ(*ParsePageToken("pfs/DATA", token), "core-token\n/with+bytes");
  EXPECT_EQ(*ParsePageToken("pfs/DATA", ""), "");
  EXPECT_FALSE(ParsePageToken("pfs/OTHER", token).ok());
  EXPECT_FALSE(ParsePageToken("pfs/DATA", "nonsense!").ok());
  EXPECT_FALSE(ParsePageToken("pfs/DATA", FormatPageToken("pfs/DATA", "")).ok());
}

TEST(DiskProto, TimesFromDamagedMediaStayLegal) {
  DiskInfo info;
  info.name = {"DATA", "vm1"};
  info.size_bytes = 7;
  info.create_time = absl::InfinitePast();
  info.modify_time = absl::FromUnixMicros(1'500'000);
  info.comp = CompMethod::kLz4;
  info.check = CheckMethod::kXxhash64;
  v1::Disk disk;
  ToProto(info, disk);
  EXPECT_EQ(disk.name(), "pfs/DATA/disks/vm1");
  EXPECT_EQ(disk.create_time().seconds(), 0);
  EXPECT_EQ(disk.modify_time().seconds(), 1);
  EXPECT_EQ(disk.modify_time().nanos(), 500'000'000);
  EXPECT_EQ(disk.compression(), v1::COMPRESSION_LZ4);
  EXPECT_EQ(disk.check_code(), v1::CHECK_CODE_XXHASH64);
  info.modify_time = absl::InfiniteFuture();
  ToProto(info, disk);
  EXPECT_EQ(disk.modify_time().seconds(), 253402300799);
}

TEST(DiskProto, OfADamagedDiskOnlyNameAndNumberAreTold) {
  DiskInfo info;
  info.name = {"DATA", "vm1"};
  info.inum = Inum(7);
  info.damaged = true;
  v1::Disk disk;
  ToProto(info, disk);
  EXPECT_EQ(disk.name(), "pfs/DATA/disks/vm1");
  EXPECT_EQ(disk.inode_number(), 7u);
  EXPECT_TRUE(disk.damaged());
  EXPECT_FALSE(disk.has_create_time());
  EXPECT_EQ(disk.check_code(), v1::CHECK_CODE_UNSPECIFIED);
}

TEST(TransactionProto, PeersOfUnixSocketsAreNoSessions) {
  EXPECT_EQ(SessionOf("unix:"), "");
  EXPECT_EQ(SessionOf("unix:/run/h2bd.sock"), "");
  EXPECT_EQ(SessionOf("ipv4:127.0.0.1:5432"), "ipv4:127.0.0.1:5432");
  EXPECT_EQ(SessionOf("ipv6:%5B::1%5D:5432"), "ipv6:%5B::1%5D:5432");
}

TEST(TransactionProto, TimeoutsAreChecked) {
  google::protobuf::Duration d;
  EXPECT_FALSE(TimeoutFromProto(d).ok()) << "zero";
  d.set_seconds(2);
  d.set_nanos(500'000'000);
  EXPECT_EQ(*TimeoutFromProto(d), absl::Milliseconds(2500));
  d.set_nanos(-1);
  EXPECT_FALSE(TimeoutFromProto(d).ok());
  d.set_nanos(1'000'000'000);
  EXPECT_FALSE(TimeoutFromProto(d).ok());
  d.set_nanos(0);
  d.set_seconds(INT64_MAX);
  EXPECT_FALSE(TimeoutFromProto(d).ok());
  d.set_seconds(-5);
  EXPECT_FALSE(TimeoutFromProto(d).ok());
}

TEST(Log, LinesCannotBeForged) {
  EXPECT_EQ(LogLine(LogFormat::kText, "opened", {{"disk", "vm1"}, {"why", "two words"}}),
            "opened disk=vm1 why=\"two words\"");
  EXPECT_EQ(LogLine(LogFormat::kText, "m", {{"k", "a\nb"}, {"empty", ""}}),
            "m k=\"a\\nb\" empty=\"\"");
  EXPECT_EQ(LogLine(LogFormat::kJson, "say \"hi\"", {{"k", "a\nb"}}),
            R"("message":"say \"hi\"","k":"a\nb")");
  EXPECT_THAT(LogLine(LogFormat::kJson, "m", {{"k", "\xFF"}}), HasSubstr("\xEF\xBF\xBD"));
}

}  // namespace
}  // namespace h2bd
