#include "tests/client/fake_server.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "core/base/random.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace h2bd {

grpc::Status ErrorWithReason(grpc::StatusCode code, const std::string& message,
                             const std::string& reason) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("h2bd");
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(info);
  return grpc::Status(code, message, details.SerializeAsString());
}

namespace {

const grpc::Status kLost(grpc::StatusCode::UNAVAILABLE, "the answer was lost");

struct Staged {
  std::string disk;
  uint64_t offset = 0;
  std::string bytes;
  std::optional<uint64_t> new_size = std::nullopt;
};

struct Txn {
  v1::TransactionState state = v1::TRANSACTION_STATE_OPEN;
  v1::Durability durability = v1::DURABILITY_UNSPECIFIED;
  std::vector<Staged> writes;
};

struct FrameFault {
  int times = 0;
  grpc::Status status;
  std::string reason;
};

}  // namespace

struct FakeServer::State {
  absl::Mutex mu;
  std::map<std::string, std::string> disks, durable;  // by resource name
  std::map<std::string, std::string> created_by;      // request id -> disk
  std::map<std::string, Txn> transactions;
  std::map<std::string, std::vector<grpc::Status>> failures;
  std::map<std::string, int> lost, calls;
  std::map<uint64_t, FrameFault> frame_faults;
  std::vector<std::string> request_ids;
  std::vector<v1::ChannelRequest> frames;
  uint64_t seq = 0;
  int instance = 1, next_transaction = 1;
  bool send_instance = true;
  std::optional<uint64_t> order_seed;
  int break_after = -1, break_unanswered = 0, cumulative = 1;

  // Counts the call; the status that it shall fail with.
  grpc::Status Begin(grpc::ServerContext* context, const std::string& method) {
    ++calls[method];
    if (send_instance) {
      context->AddInitialMetadata("h2bd-instance", absl::StrCat("instance-", instance));
    }
    std::vector<grpc::Status>& planned = failures[method];
    if (planned.empty()) return grpc::Status::OK;
    grpc::Status status = planned.back();
    planned.pop_back();
    return status;
  }
  grpc::Status End(const std::string& method) {
    int& n = lost[method];
    return n > 0 && n-- > 0 ? kLost : grpc::Status::OK;
  }
  static std::string Resolve(const std::string& name) {
    absl::string_view rest = name;
    if (absl::ConsumePrefix(&rest, "pfs/-/")) return absl::StrCat("pfs/DATA/", rest);
    return name;
  }
  grpc::Status Apply(const std::string& name, uint64_t offset, const std::string& bytes) {
    const auto disk = disks.find(Resolve(name));
    if (disk == disks.end()) return {grpc::StatusCode::NOT_FOUND, absl::StrCat("no disk ", name)};
    if (offset > disk->second.size() || bytes.size() > disk->second.size() - offset) {
      return {grpc::StatusCode::OUT_OF_RANGE, "beyond the end of the disk"};
    }
    disk->second.replace(offset, bytes.size(), bytes);
    ++seq;
    return grpc::Status::OK;
  }
};

class FakeServer::Disks final : public v1::DiskService::Service {
 public:
  explicit Disks(State* state) : s_(*state) {}

  void Fill(const std::string& name, v1::Disk* disk) {
    disk->set_name(name);
    disk->set_size_bytes(s_.disks[name].size());
    disk->set_stored_bytes(s_.disks[name].size() / 2);
    disk->mutable_create_time()->set_seconds(1'700'000'000);
    disk->set_compression(v1::COMPRESSION_LZ4);
    disk->set_check_code(v1::CHECK_CODE_XXHASH64);
    disk->set_inode_number(7);
  }

  grpc::Status CreateDisk(grpc::ServerContext* context, const v1::CreateDiskRequest* request,
                          v1::CreateDiskResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    s_.request_ids.push_back(request->request_id());
    if (grpc::Status status = s_.Begin(context, "CreateDisk"); !status.ok()) return status;
    const std::string name =
        State::Resolve(absl::StrCat(request->parent(), "/disks/", request->disk_id()));
    std::string& creator = s_.created_by[request->request_id()];
    if (creator != name && s_.disks.contains(name)) {
      return ErrorWithReason(grpc::StatusCode::ALREADY_EXISTS, "the name is taken",
                             "ALREADY_EXISTS");
    }
    creator = name;
    s_.disks[name].resize(request->size_bytes());
    Fill(name, response->mutable_disk());
    return s_.End("CreateDisk");
  }
  grpc::Status GetDisk(grpc::ServerContext* context, const v1::GetDiskRequest* request,
                       v1::GetDiskResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "GetDisk"); !status.ok()) return status;
    const std::string name = State::Resolve(request->name());
    if (!s_.disks.contains(name)) return {grpc::StatusCode::NOT_FOUND, "no such disk"};
    Fill(name, response->mutable_disk());
    return grpc::Status::OK;
  }
  // Pages of two, whatever is asked for.
  grpc::Status ListDisks(grpc::ServerContext* context, const v1::ListDisksRequest* request,
                         v1::ListDisksResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "ListDisks"); !status.ok()) return status;
    for (auto disk = s_.disks.upper_bound(request->page_token()); disk != s_.disks.end(); ++disk) {
      if (response->disks_size() == 2) {
        response->set_next_page_token(response->disks(1).name());
        break;
      }
      Fill(disk->first, response->add_disks());
    }
    return grpc::Status::OK;
  }
  grpc::Status ResizeDisk(grpc::ServerContext* context, const v1::ResizeDiskRequest* request,
                          v1::ResizeDiskResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    s_.request_ids.push_back(request->request_id());
    if (grpc::Status status = s_.Begin(context, "ResizeDisk"); !status.ok()) return status;
    const std::string name = State::Resolve(request->name());
    if (!s_.disks.contains(name)) return {grpc::StatusCode::NOT_FOUND, "no such disk"};
    if (!request->transaction().empty()) {
      const auto found = s_.transactions.find(request->transaction());
      if (found == s_.transactions.end()) {
        return {grpc::StatusCode::NOT_FOUND, "no such transaction"};
      }
      found->second.writes.push_back({.disk = name, .new_size = request->size_bytes()});
      Fill(name, response->mutable_disk());
      return grpc::Status::OK;
    }
    s_.disks[name].resize(request->size_bytes());
    Fill(name, response->mutable_disk());
    return grpc::Status::OK;
  }
  grpc::Status RenameDisk(grpc::ServerContext* context, const v1::RenameDiskRequest* request,
                          v1::RenameDiskResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "RenameDisk"); !status.ok()) return status;
    auto node = s_.disks.extract(State::Resolve(request->name()));
    if (node.empty()) return {grpc::StatusCode::NOT_FOUND, "no such disk"};
    node.key() = absl::StrCat("pfs/DATA/disks/", request->new_disk_id());
    const std::string name = node.key();
    s_.disks.insert(std::move(node));
    Fill(name, response->mutable_disk());
    return grpc::Status::OK;
  }
  grpc::Status DeleteDisk(grpc::ServerContext* context, const v1::DeleteDiskRequest* request,
                          v1::DeleteDiskResponse*) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "DeleteDisk"); !status.ok()) return status;
    if (s_.disks.erase(State::Resolve(request->name())) == 0) {
      return {grpc::StatusCode::NOT_FOUND, "no such disk"};
    }
    return grpc::Status::OK;
  }

 private:
  State& s_;
};

class FakeServer::Io final : public v1::IoService::Service {
  using Stream = grpc::ServerReaderWriter<v1::ChannelResponse, v1::ChannelRequest>;

 public:
  explicit Io(State* state) : s_(*state) {}

  grpc::Status Read(grpc::ServerContext* context, const v1::ReadRequest* request,
                    v1::ReadResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "Read"); !status.ok()) return status;
    const auto disk = s_.disks.find(State::Resolve(request->disk()));
    if (disk == s_.disks.end()) return {grpc::StatusCode::NOT_FOUND, "no such disk"};
    if (request->offset() + request->length() > disk->second.size()) {
      return {grpc::StatusCode::OUT_OF_RANGE, "beyond the end of the disk"};
    }
    response->set_data(disk->second.substr(request->offset(), request->length()));
    return grpc::Status::OK;
  }
  grpc::Status Write(grpc::ServerContext* context, const v1::WriteRequest* request,
                     v1::WriteResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "Write"); !status.ok()) return status;
    return Change(*request, request->data(), response, "Write");
  }
  grpc::Status WriteZeroes(grpc::ServerContext* context, const v1::WriteZeroesRequest* request,
                           v1::WriteZeroesResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "WriteZeroes"); !status.ok()) return status;
    return Change(*request, std::string(request->length(), '\0'), response, "WriteZeroes");
  }
  grpc::Status Discard(grpc::ServerContext* context, const v1::DiscardRequest* request,
                       v1::DiscardResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "Discard"); !status.ok()) return status;
    return Change(*request, std::string(request->length(), '\0'), response, "Discard");
  }
  grpc::Status Sync(grpc::ServerContext* context, const v1::SyncRequest*,
                    v1::SyncResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "Sync"); !status.ok()) return status;
    s_.durable = s_.disks;
    response->set_durable_seq(s_.seq);
    response->set_mirror_tid(100 + s_.seq);
    return s_.End("Sync");
  }
  grpc::Status Channel(grpc::ServerContext* context, Stream* stream) override {
    int frames = 0;
    int break_after = -1, unanswered = 0, cumulative = 1;
    std::optional<uint64_t> order_seed;
    {
      absl::MutexLock lock(&s_.mu);
      if (grpc::Status status = s_.Begin(context, "Channel"); !status.ok()) return status;
      break_after = std::exchange(s_.break_after, -1);
      unanswered = s_.break_unanswered;
      cumulative = s_.cumulative;
      order_seed = s_.order_seed;
    }
    if (order_seed.has_value()) return ShuffledChannel(*order_seed, stream);
    std::string disk;
    v1::ChannelRequest request;
    int held = 0;  // writes applied and not answered
    while (stream->Read(&request)) {
      v1::ChannelResponse response;
      {
        absl::MutexLock lock(&s_.mu);
        response = Answer(request, &disk);
      }
      ++frames;
      if (frames == break_after) return {grpc::StatusCode::UNAVAILABLE, "the stream broke"};
      if (break_after >= 0 && frames > break_after - unanswered) continue;
      const bool is_write = request.op() == v1::CHANNEL_OP_WRITE && response.code() == 0;
      if (is_write && held + 1 < cumulative) {
        ++held;
        continue;
      }
      if (is_write) response.set_cumulative(std::exchange(held, 0));
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

 private:
  // Takes frames as they come; a second thread picks any of them, applies and answers it.
  grpc::Status ShuffledChannel(uint64_t seed, Stream* stream) {
    absl::Mutex mu;
    std::vector<v1::ChannelRequest> waiting;
    bool ended = false;
    std::thread worker([&] {
      SeededRandom random(seed);
      std::string disk;
      const auto ready = [&] { return ended || !waiting.empty(); };
      while (true) {
        // Lets more frames come in, so that there is a choice.
        absl::SleepFor(absl::Microseconds(50));
        v1::ChannelRequest request;
        {
          absl::MutexLock lock(&mu);
          mu.Await(absl::Condition(&ready));
          if (waiting.empty()) return;
          std::swap(waiting[random.Next64() % waiting.size()], waiting.back());
          request = std::move(waiting.back());
          waiting.pop_back();
        }
        v1::ChannelResponse response;
        {
          absl::MutexLock lock(&s_.mu);
          response = Answer(request, &disk);
        }
        stream->Write(response);
      }
    });
    v1::ChannelRequest request;
    while (stream->Read(&request)) {
      absl::MutexLock lock(&mu);
      waiting.push_back(request);
    }
    {
      absl::MutexLock lock(&mu);
      ended = true;
    }
    worker.join();
    return grpc::Status::OK;
  }

  template <class Request, class Response>
  grpc::Status Change(const Request& request, const std::string& bytes, Response* response,
                      const std::string& method) ABSL_EXCLUSIVE_LOCKS_REQUIRED(s_.mu) {
    if (!request.transaction().empty()) {
      const auto found = s_.transactions.find(request.transaction());
      if (found == s_.transactions.end()) {
        return {grpc::StatusCode::NOT_FOUND, "no such transaction"};
      }
      found->second.writes.push_back({request.disk(), request.offset(), bytes});
      return s_.End(method);
    }
    const grpc::Status status = s_.Apply(request.disk(), request.offset(), bytes);
    if (!status.ok()) return status;
    if (request.durability() == v1::DURABILITY_DURABLE) s_.durable = s_.disks;
    response->set_seq(s_.seq);
    return s_.End(method);
  }

  v1::ChannelResponse Answer(const v1::ChannelRequest& request, std::string* disk)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(s_.mu) {
    v1::ChannelRequest frame = request;
    frame.clear_data();
    s_.frames.push_back(frame);
    v1::ChannelResponse response;
    response.set_id(request.id());
    if (request.op() == v1::CHANNEL_OP_OPEN) {
      *disk = State::Resolve(request.disk());
      if (!s_.disks.contains(*disk))
        return Refuse(response, {grpc::StatusCode::NOT_FOUND, "no such disk"}, "");
      response.set_handle(5);
      response.set_size_bytes(s_.disks[*disk].size());
      return response;
    }
    FrameFault& fault = s_.frame_faults[request.offset()];
    if (fault.times > 0) {
      --fault.times;
      return Refuse(response, fault.status, fault.reason);
    }
    if (request.op() == v1::CHANNEL_OP_READ) {
      response.set_data(s_.disks[*disk].substr(request.offset(), request.length()));
      return response;
    }
    const std::string bytes =
        request.op() == v1::CHANNEL_OP_WRITE ? request.data() : std::string(request.length(), '\0');
    const grpc::Status status = s_.Apply(*disk, request.offset(), bytes);
    if (!status.ok()) return Refuse(response, status, "");
    response.set_seq(s_.seq);
    return response;
  }

  static v1::ChannelResponse Refuse(v1::ChannelResponse response, const grpc::Status& status,
                                    const std::string& reason) {
    response.set_code(status.error_code());
    response.set_message(status.error_message());
    response.set_reason(reason);
    return response;
  }

  State& s_;
};

class FakeServer::Transactions final : public v1::TransactionService::Service {
 public:
  explicit Transactions(State* state) : s_(*state) {}

  grpc::Status BeginTransaction(grpc::ServerContext* context,
                                const v1::BeginTransactionRequest* request,
                                v1::BeginTransactionResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    s_.request_ids.push_back(request->request_id());
    if (grpc::Status status = s_.Begin(context, "BeginTransaction"); !status.ok()) return status;
    const std::string name = absl::StrCat("transactions/", s_.next_transaction++);
    s_.transactions[name].durability = request->durability();
    Fill(name, s_.transactions[name], response->mutable_transaction());
    return grpc::Status::OK;
  }
  grpc::Status CommitTransaction(grpc::ServerContext* context,
                                 const v1::CommitTransactionRequest* request,
                                 v1::CommitTransactionResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "CommitTransaction"); !status.ok()) return status;
    const auto found = s_.transactions.find(request->name());
    if (found == s_.transactions.end()) return {grpc::StatusCode::NOT_FOUND, "no transaction"};
    for (const Staged& write : found->second.writes) {
      if (write.new_size.has_value()) {
        s_.disks[State::Resolve(write.disk)].resize(*write.new_size);
        continue;
      }
      const grpc::Status status = s_.Apply(write.disk, write.offset, write.bytes);
      if (!status.ok()) return status;
    }
    found->second.state = v1::TRANSACTION_STATE_APPLIED;
    const v1::Durability durability = request->durability() != v1::DURABILITY_UNSPECIFIED
                                          ? request->durability()
                                          : found->second.durability;
    if (durability == v1::DURABILITY_DURABLE) {
      s_.durable = s_.disks;
      found->second.state = v1::TRANSACTION_STATE_DURABLE;
    }
    Fill(request->name(), found->second, response->mutable_transaction());
    return s_.End("CommitTransaction");
  }
  grpc::Status AbortTransaction(grpc::ServerContext* context,
                                const v1::AbortTransactionRequest* request,
                                v1::AbortTransactionResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "AbortTransaction"); !status.ok()) return status;
    const auto found = s_.transactions.find(request->name());
    if (found == s_.transactions.end()) return {grpc::StatusCode::NOT_FOUND, "no transaction"};
    if (found->second.state != v1::TRANSACTION_STATE_OPEN) {
      return {grpc::StatusCode::FAILED_PRECONDITION, "committed"};
    }
    found->second.state = v1::TRANSACTION_STATE_ABORTED;
    Fill(request->name(), found->second, response->mutable_transaction());
    return grpc::Status::OK;
  }
  grpc::Status GetTransaction(grpc::ServerContext* context,
                              const v1::GetTransactionRequest* request,
                              v1::GetTransactionResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "GetTransaction"); !status.ok()) return status;
    const auto found = s_.transactions.find(request->name());
    if (found == s_.transactions.end()) return {grpc::StatusCode::NOT_FOUND, "no transaction"};
    Fill(request->name(), found->second, response->mutable_transaction());
    return grpc::Status::OK;
  }

 private:
  void Fill(const std::string& name, const Txn& txn, v1::Transaction* into)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(s_.mu) {
    into->set_name(name);
    into->set_state(txn.state);
    into->set_seq(s_.seq);
    into->set_writes(static_cast<uint32_t>(txn.writes.size()));
  }
  State& s_;
};

class FakeServer::Volume final : public v1::VolumeService::Service {
 public:
  explicit Volume(State* state) : s_(*state) {}

  grpc::Status GetVolume(grpc::ServerContext* context, const v1::GetVolumeRequest*,
                         v1::GetVolumeResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "GetVolume"); !status.ok()) return status;
    v1::Volume* volume = response->mutable_volume();
    volume->set_fsid("0a0b");
    volume->add_devices("disk.img");
    volume->set_total_bytes(8ull << 30);
    volume->mutable_space()->set_free_bytes(5ull << 30);
    volume->set_header_slots(4);
    volume->set_default_pfs("pfs/DATA");
    volume->mutable_failure()->set_code(grpc::StatusCode::UNAVAILABLE);
    volume->mutable_failure()->set_message("a barrier failed");
    return grpc::Status::OK;
  }
  grpc::Status ListFlushCycles(grpc::ServerContext* context,
                               const v1::ListFlushCyclesRequest* request,
                               v1::ListFlushCyclesResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "ListFlushCycles"); !status.ok()) return status;
    for (uint64_t number : {4, 5}) {
      if (request->limit() == 1 && number == 4) continue;
      v1::FlushCycle& cycle = *response->add_cycles();
      cycle.set_number(number);
      cycle.set_reason(v1::FLUSH_REASON_AGE);
      cycle.mutable_duration()->set_nanos(2'500'000);
      cycle.set_mirror_tid(17);
      v1::FlushPhase& phase = *cycle.add_phases();
      phase.set_name("cut");
      phase.mutable_duration()->set_nanos(1000);
    }
    response->mutable_cycles()->rbegin()->mutable_failure()->set_code(grpc::StatusCode::DATA_LOSS);
    return grpc::Status::OK;
  }
  grpc::Status ListPfs(grpc::ServerContext* context, const v1::ListPfsRequest*,
                       v1::ListPfsResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "ListPfs"); !status.ok()) return status;
    response->add_pfs()->set_name("pfs/DATA");
    response->add_pfs()->set_name("pfs/LOCAL");
    return grpc::Status::OK;
  }

 private:
  State& s_;
};

FakeServer::FakeServer()
    : state_(std::make_unique<State>()),
      disks_(std::make_unique<Disks>(state_.get())),
      io_(std::make_unique<Io>(state_.get())),
      transactions_(std::make_unique<Transactions>(state_.get())),
      volume_(std::make_unique<Volume>(state_.get())) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterService(disks_.get());
  builder.RegisterService(io_.get());
  builder.RegisterService(transactions_.get());
  builder.RegisterService(volume_.get());
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeServer::~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

void FakeServer::AddDisk(const std::string& path, uint64_t size_bytes) {
  absl::MutexLock lock(&state_->mu);
  const std::string name = absl::StrCat("pfs/DATA/disks/", path);
  state_->disks[name] = state_->durable[name] = std::string(size_bytes, '\0');
}

std::string FakeServer::Content(const std::string& path) {
  absl::MutexLock lock(&state_->mu);
  return state_->disks[absl::StrCat("pfs/DATA/disks/", path)];
}

std::string FakeServer::DurableContent(const std::string& path) {
  absl::MutexLock lock(&state_->mu);
  return state_->durable[absl::StrCat("pfs/DATA/disks/", path)];
}

void FakeServer::FailNext(const std::string& method, int times, grpc::Status status) {
  absl::MutexLock lock(&state_->mu);
  state_->failures[method].assign(static_cast<size_t>(times), status);
}

void FakeServer::LoseNextAnswer(const std::string& method) {
  absl::MutexLock lock(&state_->mu);
  state_->lost[method] = 1;
}

void FakeServer::BreakNextChannel(int frames, int unanswered) {
  absl::MutexLock lock(&state_->mu);
  state_->break_after = frames;
  state_->break_unanswered = unanswered;
}

void FakeServer::FailFramesAt(uint64_t offset, int times, grpc::Status status,
                              const std::string& reason) {
  absl::MutexLock lock(&state_->mu);
  state_->frame_faults[offset] = {times, std::move(status), reason};
}

void FakeServer::AnswerCumulatively(int count) {
  absl::MutexLock lock(&state_->mu);
  state_->cumulative = count;
}

void FakeServer::ApplyInAnyOrder(uint64_t seed) {
  absl::MutexLock lock(&state_->mu);
  state_->order_seed = seed;
}

void FakeServer::Restart() {
  absl::MutexLock lock(&state_->mu);
  state_->disks = state_->durable;
  state_->transactions.clear();
  state_->seq = 0;
  ++state_->instance;
}

void FakeServer::SendInstance(bool yes) {
  absl::MutexLock lock(&state_->mu);
  state_->send_instance = yes;
}

int FakeServer::calls(const std::string& method) {
  absl::MutexLock lock(&state_->mu);
  return state_->calls[method];
}

std::vector<std::string> FakeServer::request_ids() {
  absl::MutexLock lock(&state_->mu);
  return state_->request_ids;
}

std::vector<v1::ChannelRequest> FakeServer::frames() {
  absl::MutexLock lock(&state_->mu);
  return state_->frames;
}

}  // namespace h2bd
