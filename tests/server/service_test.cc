// The unary calls of all services against a real volume.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/server/test_server.h"

namespace h2bd {
namespace {

using testing::HasSubstr;

std::chrono::system_clock::time_point In(absl::Duration time) {
  return absl::ToChronoTime(absl::Now() + time);
}

// A unary call: `method` of `stub` with `request`.
template <class Stub, class Request, class Response>
grpc::Status Do(Stub& stub,
                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                const Request& request, Response* response = nullptr,
                absl::Duration timeout = absl::InfiniteDuration()) {
  grpc::ClientContext context;
  if (timeout != absl::InfiniteDuration()) context.set_deadline(In(timeout));
  Response ignored;
  return (stub.*method)(&context, request, response != nullptr ? response : &ignored);
}

using DiskStub = v1::DiskService::Stub;
using IoStub = v1::IoService::Stub;
using TxnStub = v1::TransactionService::Stub;
using VolumeStub = v1::VolumeService::Stub;

v1::CreateDiskRequest NewDisk(const std::string& parent, const std::string& id, uint64_t size) {
  v1::CreateDiskRequest request;
  request.set_parent(parent);
  request.set_disk_id(id);
  request.set_size_bytes(size);
  return request;
}

void ExpectError(const grpc::Status& status, grpc::StatusCode code, const std::string& reason,
                 const char* what) {
  EXPECT_EQ(status.error_code(), code) << what << ": " << status.error_message();
  EXPECT_EQ(ReasonOf(status), reason) << what << ": " << status.error_message();
}

TEST(DiskService, CreateGetResizeRenameDelete) {
  TestServer server;
  v1::CreateDiskResponse created;
  ASSERT_TRUE(
      Do(server.disks(), &DiskStub::CreateDisk, NewDisk("pfs/DATA", "vm1", kMiB), &created).ok());
  EXPECT_EQ(created.disk().name(), "pfs/DATA/disks/vm1");
  EXPECT_EQ(created.disk().size_bytes(), kMiB);
  EXPECT_EQ(created.disk().compression(), v1::COMPRESSION_LZ4);
  EXPECT_GT(created.disk().create_time().seconds(), 0);

  v1::GetDiskRequest get;
  v1::GetDiskResponse got;
  get.set_name("pfs/-/disks/vm1");
  ASSERT_TRUE(Do(server.disks(), &DiskStub::GetDisk, get, &got).ok());
  EXPECT_EQ(got.disk().name(), "pfs/DATA/disks/vm1") << "the default PFS is spelled out";
  EXPECT_EQ(got.disk().inode_number(), created.disk().inode_number());

  v1::ResizeDiskRequest resize;
  v1::ResizeDiskResponse resized;
  resize.set_name(created.disk().name());
  resize.set_size_bytes(5 * kMiB + 3);
  ASSERT_TRUE(Do(server.disks(), &DiskStub::ResizeDisk, resize, &resized).ok());
  EXPECT_EQ(resized.disk().size_bytes(), 5 * kMiB + 3);

  v1::RenameDiskRequest rename;
  v1::RenameDiskResponse renamed;
  rename.set_name(created.disk().name());
  rename.set_new_disk_id("vm2");
  ASSERT_TRUE(Do(server.disks(), &DiskStub::RenameDisk, rename, &renamed).ok());
  EXPECT_EQ(renamed.disk().name(), "pfs/DATA/disks/vm2");
  ExpectError(Do(server.disks(), &DiskStub::GetDisk, get), grpc::StatusCode::NOT_FOUND, "NOT_FOUND",
              "old name");

  v1::DeleteDiskRequest del;
  del.set_name("pfs/DATA/disks/vm2");
  EXPECT_TRUE(Do(server.disks(), &DiskStub::DeleteDisk, del).ok());
  ExpectError(Do(server.disks(), &DiskStub::DeleteDisk, del), grpc::StatusCode::NOT_FOUND,
              "NOT_FOUND", "second delete");
}

TEST(DiskService, BadRequestsHaveClearCodes) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  struct Case {
    v1::CreateDiskRequest request;
    grpc::StatusCode code;
  };
  for (const Case& c :
       {Case{NewDisk("pfs/DATA", "vm1", 1), grpc::StatusCode::ALREADY_EXISTS},
        Case{NewDisk("pfs/NONE", "x", 1), grpc::StatusCode::NOT_FOUND},
        Case{NewDisk("DATA", "x", 1), grpc::StatusCode::INVALID_ARGUMENT},
        Case{NewDisk("pfs/DATA", "", 1), grpc::StatusCode::INVALID_ARGUMENT},
        Case{NewDisk("pfs/DATA", "a/b", 1), grpc::StatusCode::INVALID_ARGUMENT},
        Case{NewDisk("pfs/DATA", "..", 1), grpc::StatusCode::INVALID_ARGUMENT},
        Case{NewDisk("pfs/DATA", std::string("a\0b", 3), 1), grpc::StatusCode::INVALID_ARGUMENT},
        Case{NewDisk("pfs/DATA", std::string(256, 'n'), 1), grpc::StatusCode::INVALID_ARGUMENT},
        Case{NewDisk("pfs/DATA", "huge", (uint64_t{1} << 62) + 1),
             grpc::StatusCode::OUT_OF_RANGE}}) {
    ExpectError(Do(server.disks(), &DiskStub::CreateDisk, c.request), c.code,
                c.code == grpc::StatusCode::ALREADY_EXISTS ? "ALREADY_EXISTS"
                : c.code == grpc::StatusCode::NOT_FOUND    ? "NOT_FOUND"
                : c.code == grpc::StatusCode::OUT_OF_RANGE ? "OUT_OF_RANGE"
                                                           : "INVALID_ARGUMENT",
                c.request.ShortDebugString().c_str());
  }
  server.CreateDisk(std::string(255, 'n'), 1);
  v1::RenameDiskRequest rename;
  rename.set_name(disk);
  rename.set_new_disk_id(std::string(255, 'n'));
  ExpectError(Do(server.disks(), &DiskStub::RenameDisk, rename), grpc::StatusCode::ALREADY_EXISTS,
              "ALREADY_EXISTS", "rename over another");
}

TEST(DiskService, ListsInPages) {
  TestServer server;
  std::set<std::string> expected;
  for (int i = 0; i < 23; ++i) expected.insert(server.CreateDisk(absl::StrCat("disk", i), 4096));
  std::set<std::string> seen;
  v1::ListDisksRequest request;
  request.set_parent("pfs/DATA");
  request.set_page_size(5);
  int pages = 0;
  do {
    v1::ListDisksResponse response;
    ASSERT_TRUE(Do(server.disks(), &DiskStub::ListDisks, request, &response).ok());
    EXPECT_LE(response.disks_size(), 5);
    for (const v1::Disk& disk : response.disks()) {
      EXPECT_TRUE(seen.insert(disk.name()).second) << disk.name() << " twice";
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty() && ++pages < 100);
  EXPECT_EQ(seen, expected);

  request.set_page_token("made up");
  EXPECT_EQ(Do(server.disks(), &DiskStub::ListDisks, request).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  request.clear_page_token();
  request.set_page_size(-1);
  EXPECT_EQ(Do(server.disks(), &DiskStub::ListDisks, request).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(DiskService, ARequestIdMakesAMutationHappenOnce) {
  TestServer server;
  v1::CreateDiskRequest create = NewDisk("pfs/DATA", "vm1", kMiB);
  create.set_request_id("7ad0f1c2");
  v1::CreateDiskResponse first, second;
  ASSERT_TRUE(Do(server.disks(), &DiskStub::CreateDisk, create, &first).ok());
  ASSERT_TRUE(Do(server.disks(), &DiskStub::CreateDisk, create, &second).ok());
  EXPECT_EQ(first.SerializeAsString(), second.SerializeAsString());
  create.set_disk_id("vm2");
  EXPECT_EQ(Do(server.disks(), &DiskStub::CreateDisk, create).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);

  v1::DeleteDiskRequest del;
  del.set_name(first.disk().name());
  del.set_request_id("delete-1");
  EXPECT_TRUE(Do(server.disks(), &DiskStub::DeleteDisk, del).ok());
  EXPECT_TRUE(Do(server.disks(), &DiskStub::DeleteDisk, del).ok()) << "a repetition";
  del.set_request_id("delete-2");
  EXPECT_EQ(Do(server.disks(), &DiskStub::DeleteDisk, del).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST(IoService, WritesAreReadBackAcrossBlocks) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", 4 * kMiB);
  std::string data(300'000, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 / 3);
  server.Write(disk, 12'345, data);
  EXPECT_EQ(server.Read(disk, 12'345, data.size()), data);
  EXPECT_EQ(server.Read(disk, 0, 10), std::string(10, '\0')) << "a hole";
  EXPECT_EQ(server.Read(disk, 4 * kMiB, 0), "") << "nothing, at the end";

  v1::WriteZeroesRequest zeroes;
  zeroes.set_disk(disk);
  zeroes.set_offset(12'345);
  zeroes.set_length(100'000);
  v1::WriteZeroesResponse zeroed;
  ASSERT_TRUE(Do(server.io(), &IoStub::WriteZeroes, zeroes, &zeroed).ok());
  EXPECT_GT(zeroed.seq(), 0u);
  v1::DiscardRequest discard;
  discard.set_disk(disk);
  discard.set_offset(200'000);
  discard.set_length(50'000);
  ASSERT_TRUE(Do(server.io(), &IoStub::Discard, discard).ok());
  data.replace(0, 100'000, 100'000, '\0');
  data.replace(200'000 - 12'345, 50'000, 50'000, '\0');
  EXPECT_EQ(server.Read(disk, 12'345, data.size()), data);
}

TEST(IoService, SyncAndDurableWritesAreDurable) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  v1::WriteRequest write = NewWrite(disk, 0, "durable");
  write.set_durability(v1::DURABILITY_DURABLE);
  v1::WriteResponse written;
  ASSERT_TRUE(Do(server.io(), &IoStub::Write, write, &written).ok());
  EXPECT_GE(server.volume().GetStatus().durable_opseq.v, written.seq());

  write.set_durability(v1::DURABILITY_ACCEPTED);
  ASSERT_TRUE(Do(server.io(), &IoStub::Write, write, &written).ok());
  v1::SyncRequest sync;
  v1::SyncResponse synced;
  sync.set_disk(disk);
  ASSERT_TRUE(Do(server.io(), &IoStub::Sync, sync, &synced).ok());
  EXPECT_GE(synced.durable_seq(), written.seq());
  EXPECT_GT(synced.mirror_tid(), 0u);
  EXPECT_TRUE(Do(server.io(), &IoStub::Sync, v1::SyncRequest()).ok()) << "the whole volume";

  sync.set_seq(written.seq());
  EXPECT_EQ(Do(server.io(), &IoStub::Sync, sync).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  sync.clear_disk();
  EXPECT_TRUE(Do(server.io(), &IoStub::Sync, sync).ok());
  sync.set_seq(UINT64_MAX);
  EXPECT_EQ(Do(server.io(), &IoStub::Sync, sync).error_code(), grpc::StatusCode::OUT_OF_RANGE);
}

TEST(IoService, ASyncOfAPfsTellsHowItWasDone) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  v1::WriteResponse written;
  ASSERT_TRUE(Do(server.io(), &IoStub::Write, NewWrite(disk, 0, "bytes"), &written).ok());
  v1::SyncRequest sync;
  v1::SyncResponse synced;
  sync.set_pfs("pfs/DATA");
  ASSERT_TRUE(Do(server.io(), &IoStub::Sync, sync, &synced).ok());
  EXPECT_GE(synced.durable_seq(), written.seq());
  const VolumeStatus status = server.volume().GetStatus();
  EXPECT_EQ(synced.mirror_tid(), status.mirror_tid.v);
  EXPECT_EQ(synced.header_slot(), static_cast<uint32_t>(status.header_slot));
  ASSERT_EQ(synced.phases_size(), kFlushPhases);
  EXPECT_EQ(synced.phases(0).name(), "cut");
  EXPECT_GT(synced.phases(7).duration().nanos(), 0) << synced.phases(7).name();

  // Nothing of the other PFS is dirty, and what is dirty here is none of its business.
  ASSERT_TRUE(Do(server.io(), &IoStub::Write, NewWrite(disk, 0, "more"), &written).ok());
  sync.set_pfs("pfs/LOCAL");
  ASSERT_TRUE(Do(server.io(), &IoStub::Sync, sync, &synced).ok());
  EXPECT_LT(synced.durable_seq(), written.seq());

  sync.set_pfs("pfs/NONE");
  EXPECT_EQ(Do(server.io(), &IoStub::Sync, sync).error_code(), grpc::StatusCode::NOT_FOUND);
  sync.set_disk(disk);
  EXPECT_EQ(Do(server.io(), &IoStub::Sync, sync).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(IoService, BadRequestsHaveClearCodes) {
  TestServer server([](ServerConfig& config) { config.limits.max_message_bytes = kMiB; });
  const std::string disk = server.CreateDisk("vm1", 4 * kMiB);
  const uint64_t most = kMiB - 64 * kKiB;
  using Code = grpc::StatusCode;
  const auto read = [&server](const v1::ReadRequest& request) {
    return Do(server.io(), &IoStub::Read, request).error_code();
  };
  EXPECT_EQ(read(NewRead(disk, 4 * kMiB - 1, 2)), Code::OUT_OF_RANGE);
  EXPECT_EQ(read(NewRead(disk, UINT64_MAX, 2)), Code::OUT_OF_RANGE);
  EXPECT_EQ(read(NewRead(disk, 0, most + 1)), Code::INVALID_ARGUMENT);
  EXPECT_EQ(read(NewRead(disk, 0, UINT64_MAX)), Code::INVALID_ARGUMENT);
  EXPECT_EQ(read(NewRead(disk, 0, most)), Code::OK);
  EXPECT_EQ(read(NewRead("pfs/DATA/disks/none", 0, 1)), Code::NOT_FOUND);
  EXPECT_EQ(read(NewRead("nonsense", 0, 1)), Code::INVALID_ARGUMENT);
  v1::ReadRequest in_transaction = NewRead(disk, 0, 1);
  in_transaction.set_transaction("transactions/99");
  EXPECT_EQ(read(in_transaction), Code::NOT_FOUND);

  const auto write = [&server](const v1::WriteRequest& request) {
    return Do(server.io(), &IoStub::Write, request).error_code();
  };
  EXPECT_EQ(write(NewWrite(disk, 4 * kMiB, "x")), Code::OUT_OF_RANGE);
  EXPECT_EQ(write(NewWrite(disk, 0, std::string(most, 'x'))), Code::OK);
  EXPECT_EQ(write(NewWrite(disk, 0, std::string(most + 1, 'x'))), Code::INVALID_ARGUMENT);
  EXPECT_EQ(write(NewWrite(disk, 0, std::string(2 * kMiB, 'x'))), Code::RESOURCE_EXHAUSTED)
      << "above the message size, which gRPC itself refuses";
  v1::WriteRequest odd = NewWrite(disk, 0, "x");
  odd.set_durability(static_cast<v1::Durability>(17));
  EXPECT_EQ(write(odd), Code::INVALID_ARGUMENT);
  odd.set_durability(v1::DURABILITY_DURABLE);
  odd.set_transaction("transactions/1");
  EXPECT_EQ(write(odd), Code::INVALID_ARGUMENT);
}

TEST(IoService, DeadlinesHoldWhileABarrierHangs) {
  TestServer server([](ServerConfig& config) {
    config.options.dirty_limit_bytes = kMiB;
    config.threads.writers = 1;
  });
  const std::string disk = server.CreateDisk("vm1", 64 * kMiB);
  server.Write(disk, 0, "before");
  server.device().Hold(true);
  EXPECT_EQ(Do(server.io(), &IoStub::Sync, v1::SyncRequest(),
               static_cast<v1::SyncResponse*>(nullptr), absl::Milliseconds(50))
                .error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  // Fills the dirty limit until a write has to wait.
  grpc::Status status;
  for (uint64_t at = 0; status.ok() && at < 64 * kMiB; at += 512 * kKiB) {
    status = Do(server.io(), &IoStub::Write, NewWrite(disk, at, std::string(512 * kKiB, 'w')),
                static_cast<v1::WriteResponse*>(nullptr), absl::Milliseconds(100));
  }
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(server.Read(disk, 0, 3), "www")
      << "reads do not wait for writers or for the cycle (P7)";
  server.device().Hold(false);
  server.Write(disk, 0, "after");
  EXPECT_EQ(server.Read(disk, 0, 5), "after");
}

TEST(TransactionService, WritesBecomeVisibleTogether) {
  TestServer server;
  const std::string a = server.CreateDisk("a", kMiB);
  const std::string b = server.CreateDisk("b", kMiB);
  v1::BeginTransactionRequest begin;
  v1::BeginTransactionResponse begun;
  begin.set_label("test");
  begin.mutable_timeout()->set_seconds(60);
  ASSERT_TRUE(Do(server.transactions(), &TxnStub::BeginTransaction, begin, &begun).ok());
  EXPECT_EQ(begun.transaction().state(), v1::TRANSACTION_STATE_OPEN);
  EXPECT_GT(begun.transaction().expires_in().seconds(), 0);
  const std::string name = begun.transaction().name();

  v1::WriteRequest write = NewWrite(a, 0, "one");
  write.set_transaction(name);
  v1::WriteResponse written;
  ASSERT_TRUE(Do(server.io(), &IoStub::Write, write, &written).ok());
  EXPECT_EQ(written.seq(), 0u);
  write.set_disk(b);
  ASSERT_TRUE(Do(server.io(), &IoStub::Write, write).ok());
  EXPECT_EQ(server.Read(a, 0, 3), std::string(3, '\0')) << "staged only";
  v1::ReadRequest read = NewRead(a, 0, 4);
  read.set_transaction(name);
  v1::ReadResponse own;
  ASSERT_TRUE(Do(server.io(), &IoStub::Read, read, &own).ok());
  EXPECT_EQ(own.data(), std::string("one\0", 4)) << "its own writes over the committed state";

  v1::CommitTransactionRequest commit;
  v1::CommitTransactionResponse committed;
  commit.set_name(name);
  commit.set_durability(v1::DURABILITY_DURABLE);
  ASSERT_TRUE(Do(server.transactions(), &TxnStub::CommitTransaction, commit, &committed).ok());
  EXPECT_EQ(committed.transaction().state(), v1::TRANSACTION_STATE_DURABLE);
  EXPECT_GE(server.volume().GetStatus().durable_opseq.v, committed.transaction().seq());
  EXPECT_EQ(server.Read(a, 0, 3), "one");
  EXPECT_EQ(server.Read(b, 0, 3), "one");

  v1::GetTransactionRequest get;
  v1::GetTransactionResponse got;
  get.set_name(name);
  ASSERT_TRUE(Do(server.transactions(), &TxnStub::GetTransaction, get, &got).ok());
  EXPECT_EQ(got.transaction().state(), v1::TRANSACTION_STATE_DURABLE);
  v1::AbortTransactionRequest abort;
  abort.set_name(name);
  EXPECT_EQ(Do(server.transactions(), &TxnStub::AbortTransaction, abort).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  abort.set_name("transactions/4711");
  EXPECT_EQ(Do(server.transactions(), &TxnStub::AbortTransaction, abort).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST(TransactionService, ConflictsAndAborts) {
  TestServer server;
  const std::string disk = server.CreateDisk("a", kMiB);
  v1::BeginTransactionRequest begin;
  begin.set_request_id("begin-once");
  v1::BeginTransactionResponse first, repeated, second;
  ASSERT_TRUE(Do(server.transactions(), &TxnStub::BeginTransaction, begin, &first).ok());
  ASSERT_TRUE(Do(server.transactions(), &TxnStub::BeginTransaction, begin, &repeated).ok());
  EXPECT_EQ(repeated.transaction().name(), first.transaction().name());
  begin.clear_request_id();
  ASSERT_TRUE(Do(server.transactions(), &TxnStub::BeginTransaction, begin, &second).ok());
  v1::WriteRequest write = NewWrite(disk, 0, "first");
  write.set_transaction(first.transaction().name());
  ASSERT_TRUE(Do(server.io(), &IoStub::Write, write).ok());
  write.set_transaction(second.transaction().name());
  EXPECT_EQ(Do(server.io(), &IoStub::Write, write).error_code(), grpc::StatusCode::ABORTED);
  v1::AbortTransactionRequest abort;
  v1::AbortTransactionResponse aborted;
  abort.set_name(first.transaction().name());
  ASSERT_TRUE(Do(server.transactions(), &TxnStub::AbortTransaction, abort, &aborted).ok());
  EXPECT_EQ(aborted.transaction().state(), v1::TRANSACTION_STATE_ABORTED);
  EXPECT_TRUE(Do(server.io(), &IoStub::Write, write).ok()) << "the range is free again";
  EXPECT_EQ(server.Read(disk, 0, 5), std::string(5, '\0'));
  begin.mutable_timeout()->set_seconds(100'000);
  EXPECT_EQ(Do(server.transactions(), &TxnStub::BeginTransaction, begin).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(VolumeService, ShowsTheVolume) {
  TestServer server;
  server.CreateDisk("vm1", kMiB);
  v1::GetVolumeResponse got;
  ASSERT_TRUE(Do(server.volumes(), &VolumeStub::GetVolume, v1::GetVolumeRequest(), &got).ok());
  EXPECT_EQ(got.volume().fsid().size(), 36u);
  EXPECT_EQ(got.volume().default_pfs(), "pfs/DATA");
  EXPECT_EQ(got.volume().header_slots(), 4u);
  EXPECT_GT(got.volume().space().free_bytes(), 0u);
  EXPECT_FALSE(got.volume().has_failure());
  EXPECT_FALSE(got.volume().read_only());
  EXPECT_EQ(got.volume().devices_size(), 1);
  v1::ListPfsResponse list;
  ASSERT_TRUE(Do(server.volumes(), &VolumeStub::ListPfs, v1::ListPfsRequest(), &list).ok());
  std::set<std::string> names;
  for (const v1::Pfs& pfs : list.pfs()) names.insert(pfs.name());
  EXPECT_TRUE(names.contains("pfs/DATA"));
  EXPECT_TRUE(names.contains("pfs/LOCAL"));
}

TEST(VolumeService, RemembersItsFlushCycles) {
  TestServer server;
  const std::string disk = server.CreateDisk("vm1", kMiB);
  for (int i = 0; i < 3; ++i) {
    server.Write(disk, static_cast<uint64_t>(i) * kLogicalBytes, std::string(kLogicalBytes, 'x'));
    ASSERT_TRUE(server.volume().Sync(nullptr, {}).ok());
  }
  ASSERT_TRUE(server.volume().Sync(nullptr, {}).ok()) << "with nothing to do, which is no cycle";
  v1::ListFlushCyclesResponse all;
  ASSERT_TRUE(
      Do(server.volumes(), &VolumeStub::ListFlushCycles, v1::ListFlushCyclesRequest(), &all).ok());
  ASSERT_EQ(all.cycles_size(), 3);
  for (int i = 0; i < 3; ++i) {
    const v1::FlushCycle& cycle = all.cycles(i);
    EXPECT_EQ(cycle.number(), static_cast<uint64_t>(i) + 1);
    EXPECT_EQ(cycle.reason(), v1::FLUSH_REASON_SYNC);
    EXPECT_EQ(cycle.disks(), 1u);
    EXPECT_EQ(cycle.data_blocks(), 1u);
    EXPECT_GT(cycle.data_bytes(), 0u);
    EXPECT_FALSE(cycle.has_failure());
    ASSERT_EQ(cycle.phases_size(), kFlushPhases);
    EXPECT_EQ(cycle.phases(0).name(), "cut");
    EXPECT_GT(cycle.phases(9).duration().seconds() + cycle.phases(9).duration().nanos(), 0);
    if (i > 0) {
      EXPECT_GT(cycle.mirror_tid(), all.cycles(i - 1).mirror_tid());
      EXPECT_GT(cycle.cut_seq(), all.cycles(i - 1).cut_seq());
    }
  }
  v1::ListFlushCyclesRequest two;
  two.set_limit(2);
  v1::ListFlushCyclesResponse newest;
  ASSERT_TRUE(Do(server.volumes(), &VolumeStub::ListFlushCycles, two, &newest).ok());
  ASSERT_EQ(newest.cycles_size(), 2);
  EXPECT_EQ(newest.cycles(1).number(), 3u);
}

TEST(Calls, AboveTheLimitAreRefusedNotQueued) {
  TestServer server([](ServerConfig& config) { config.limits.max_calls = 1; });
  ASSERT_TRUE(server.volume().CreateDisk({"DATA", "vm1"}, {.size_bytes = kMiB}).ok());
  server.device().Hold(true);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  v1::SyncResponse response;
  grpc::Status status;
  const auto pending = server.io().AsyncSync(&context, v1::SyncRequest(), &queue);
  pending->Finish(&response, &status, nullptr);
  const char kSyncIsIn[] = "h2bd_rpc_in_flight{method=\"IoService.Sync\"} 1";
  while (!absl::StrContains(server.Get("/metrics").second, kSyncIsIn)) std::this_thread::yield();
  ExpectError(Do(server.volumes(), &VolumeStub::GetVolume, v1::GetVolumeRequest()),
              grpc::StatusCode::RESOURCE_EXHAUSTED, "SERVER_BUSY", "second call");
  server.device().Hold(false);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST(Answers, NameTheServerProcess) {
  TestServer server;
  const auto instance = [&server]() {
    grpc::ClientContext context;
    v1::GetVolumeResponse response;
    EXPECT_TRUE(server.volumes().GetVolume(&context, v1::GetVolumeRequest(), &response).ok());
    const auto& metadata = context.GetServerInitialMetadata();
    const auto it = metadata.find("h2bd-instance");
    return it == metadata.end() ? "" : std::string(it->second.begin(), it->second.end());
  };
  const std::string first = instance();
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(instance(), first);
  TestServer other;
  grpc::ClientContext context;
  v1::GetVolumeResponse response;
  ASSERT_TRUE(other.volumes().GetVolume(&context, v1::GetVolumeRequest(), &response).ok());
  const grpc::string_ref second = context.GetServerInitialMetadata().find("h2bd-instance")->second;
  EXPECT_NE(std::string(second.begin(), second.end()), first);
}

}  // namespace
}  // namespace h2bd
