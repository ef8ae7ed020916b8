// Transactions over the wire: sizes, durability by default, the limit of a session.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/server/test_server.h"

namespace h2bd {
namespace {

using testing::HasSubstr;

// The calls of one connection; each gives its status and fills the answer of its kind.
class Caller {
 public:
  explicit Caller(const std::shared_ptr<grpc::Channel>& channel)
      : disks_(v1::DiskService::NewStub(channel)),
        io_(v1::IoService::NewStub(channel)),
        transactions_(v1::TransactionService::NewStub(channel)) {}

  grpc::Status Begin(const v1::BeginTransactionRequest& request = {}) {
    grpc::ClientContext context;
    v1::BeginTransactionResponse response;
    const grpc::Status status = transactions_->BeginTransaction(&context, request, &response);
    transaction = response.transaction();
    return status;
  }
  grpc::Status Write(const std::string& disk, uint64_t offset, const std::string& data,
                     const std::string& name) {
    grpc::ClientContext context;
    v1::WriteRequest request = NewWrite(disk, offset, data);
    v1::WriteResponse response;
    request.set_transaction(name);
    return io_->Write(&context, request, &response);
  }
  grpc::Status Resize(const std::string& disk, uint64_t size, const std::string& name) {
    grpc::ClientContext context;
    v1::ResizeDiskRequest request;
    v1::ResizeDiskResponse response;
    request.set_name(disk);
    request.set_size_bytes(size);
    request.set_transaction(name);
    const grpc::Status status = disks_->ResizeDisk(&context, request, &response);
    resized = response.disk();
    return status;
  }
  grpc::Status Commit(v1::Durability durability = v1::DURABILITY_UNSPECIFIED) {
    grpc::ClientContext context;
    v1::CommitTransactionRequest request;
    v1::CommitTransactionResponse response;
    request.set_name(transaction.name());
    request.set_durability(durability);
    const grpc::Status status = transactions_->CommitTransaction(&context, request, &response);
    transaction = response.transaction();
    return status;
  }

  v1::Transaction transaction;
  v1::Disk resized;

 private:
  std::unique_ptr<v1::DiskService::Stub> disks_;
  std::unique_ptr<v1::IoService::Stub> io_;
  std::unique_ptr<v1::TransactionService::Stub> transactions_;
};

TEST(Transaction, ASizeIsStagedWithTheWrites) {
  TestServer server;
  const std::string disk = server.CreateDisk("a", kMiB);
  Caller one(server.channel()), other(server.channel());
  ASSERT_TRUE(one.Begin().ok());
  ASSERT_TRUE(other.Begin().ok());
  const std::string name = one.transaction.name();
  ASSERT_TRUE(one.Resize(disk, 2 * kMiB, name).ok());
  EXPECT_EQ(one.resized.size_bytes(), kMiB) << "as others see it";
  EXPECT_EQ(one.Write(disk, kMiB + 5, "x", "").error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_TRUE(one.Write(disk, kMiB + 5, "behind the old end", name).ok());

  EXPECT_EQ(other.Resize(disk, 5, other.transaction.name()).error_code(),
            grpc::StatusCode::ABORTED);
  EXPECT_EQ(other.Resize(disk, 5, "").error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(other.Resize(disk, 5, "transactions/4711").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(other.Resize(disk, 5, "4711").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(one.Resize(disk, UINT64_MAX, name).error_code(), grpc::StatusCode::OUT_OF_RANGE);

  ASSERT_TRUE(one.Commit().ok());
  EXPECT_EQ(one.transaction.state(), v1::TRANSACTION_STATE_APPLIED);
  EXPECT_EQ(one.transaction.writes(), 2u);
  EXPECT_EQ(server.Read(disk, kMiB + 5, 6), "behind");
}

TEST(Transaction, ACommitThatDoesNotSayIsAsDurableAsItsBeginSaid) {
  TestServer server;
  const std::string disk = server.CreateDisk("a", kMiB);
  Caller caller(server.channel());
  const auto committed = [&](v1::Durability begin, v1::Durability commit) {
    v1::BeginTransactionRequest request;
    request.set_durability(begin);
    EXPECT_TRUE(caller.Begin(request).ok());
    EXPECT_EQ(caller.transaction.durability(),
              begin == v1::DURABILITY_DURABLE ? begin : v1::DURABILITY_ACCEPTED);
    EXPECT_TRUE(caller.Write(disk, 0, "text", caller.transaction.name()).ok());
    EXPECT_TRUE(caller.Commit(commit).ok());
    if (caller.transaction.state() == v1::TRANSACTION_STATE_DURABLE) {
      EXPECT_GE(server.volume().GetStatus().durable_opseq.v, caller.transaction.seq());
    }
    return caller.transaction.state();
  };
  const auto unspecified = v1::DURABILITY_UNSPECIFIED;
  const auto accepted = v1::DURABILITY_ACCEPTED, durable = v1::DURABILITY_DURABLE;
  EXPECT_EQ(committed(unspecified, unspecified), v1::TRANSACTION_STATE_APPLIED);
  EXPECT_EQ(committed(accepted, unspecified), v1::TRANSACTION_STATE_APPLIED);
  EXPECT_EQ(committed(durable, unspecified), v1::TRANSACTION_STATE_DURABLE);
  EXPECT_EQ(committed(durable, accepted), v1::TRANSACTION_STATE_APPLIED);
  EXPECT_EQ(committed(accepted, durable), v1::TRANSACTION_STATE_DURABLE);
  v1::BeginTransactionRequest odd;
  odd.set_durability(static_cast<v1::Durability>(7));
  EXPECT_EQ(caller.Begin(odd).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

// Spec 04 section 9.4.
TEST(Transaction, EachConnectionHasALimitOfOpenOnes) {
  TestServer server([](ServerConfig& config) { config.options.transactions.open_per_session = 3; });
  Caller one(server.Connect()), other(server.Connect());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(one.Begin().ok());
  v1::Transaction third = one.transaction;
  const grpc::Status full = one.Begin();
  EXPECT_EQ(full.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(full.error_message(), HasSubstr("3 open transactions per session"));
  EXPECT_TRUE(other.Begin().ok()) << "another connection";
  one.transaction = third;
  ASSERT_TRUE(one.Commit().ok());
  EXPECT_TRUE(one.Begin().ok());
}

}  // namespace
}  // namespace h2bd
