#include "server/io_service.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include "absl/strings/str_cat.h"
#include "server/flush_proto.h"
#include "server/resource_names.h"

namespace h2bd {
namespace {

absl::Status Parse(const grpc::ByteBuffer& buffer, v1::ReadRequest& request) {
  grpc::ByteBuffer copy(buffer);  // of the references; Deserialize consumes it
  const grpc::Status status =
      grpc::SerializationTraits<v1::ReadRequest>::Deserialize(&copy, &request);
  return status.ok() ? absl::OkStatus() : absl::InvalidArgumentError("not a ReadRequest");
}

grpc::ByteBuffer WriteResponseOf(OpSeq seq) {
  WireWriter writer;
  writer.Varint(v1::WriteResponse::kSeqFieldNumber, seq.v);
  return writer.Finish(nullptr);
}

}  // namespace

absl::StatusOr<DiskRef> IoServiceImpl::OpenDisk(const std::string& name) {
  H2_ASSIGN_OR_RETURN(const DiskName disk, ParseDiskName(name));
  return env_.volume.OpenDisk(disk);
}

void IoServiceImpl::ApplyAndFinish(UnaryCall& call, const Target& target, Change change,
                                   absl::AnyInvocable<void(OpSeq)> done) {
  const auto apply = [&]() -> absl::StatusOr<OpSeq> {
    H2_ASSIGN_OR_RETURN(change.transaction, TransactionOf(target.transaction));
    H2_RETURN_IF_ERROR(CheckDurability(target.durability, change.transaction.has_value()));
    H2_ASSIGN_OR_RETURN(change.disk, OpenDisk(target.disk));
    return ApplyUnlessCancelled(env_.volume, change, call.deadline(),
                                [&call] { return call.cancelled(); });
  };
  const absl::StatusOr<OpSeq> seq = apply();
  if (!seq.ok()) return call.Finish(seq.status());
  done(*seq);
  if (target.durability != v1::DURABILITY_DURABLE) return call.Finish(absl::OkStatus());
  env_.volume.SyncToAsync(
      *seq, {.disks = {change.disk->id()}},
      [&call](absl::StatusOr<SyncResult> result) { call.Finish(result.status()); });
}

grpc::ServerUnaryReactor* IoServiceImpl::Read(grpc::CallbackServerContext* context,
                                              const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response) {
  v1::ReadRequest args;
  const absl::Status parsed = Parse(*request, args);
  const absl::Status legal = parsed.ok() ? CheckIoLength(args.length(), env_.limits) : parsed;
  const uint64_t payload = legal.ok() ? args.length() : 0;
  const auto read = [this, legal, args](UnaryCall& call) -> absl::StatusOr<grpc::Slice> {
    H2_RETURN_IF_ERROR(legal);
    H2_ASSIGN_OR_RETURN(const std::optional<TxnId> transaction, TransactionOf(args.transaction()));
    H2_ASSIGN_OR_RETURN(const DiskRef disk, OpenDisk(args.disk()));
    return ReadSlice(env_.volume, disk, transaction, args.offset(), args.length(),
                     {.deadline = call.deadline()});
  };
  return UnaryCall::Start(env_, Method::kRead, *context, payload, env_.readers,
                          [this, read, response](UnaryCall& call) {
                            const absl::StatusOr<grpc::Slice> data = read(call);
                            if (data.ok()) {
                              *response = EncodeReadResponse(*data);
                              env_.metrics.sent_payload_bytes.Add(data->size());
                            }
                            call.Finish(data.status());
                          });
}

grpc::ServerUnaryReactor* IoServiceImpl::Write(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) {
  return UnaryCall::Start(
      env_, Method::kWrite, *context, request->Length(), env_.writers,
      [this, request, response](UnaryCall& call) {
        WriteCall args;
        absl::Status status = DecodeWriteRequest(*request, args);
        if (status.ok()) status = CheckIoLength(args.data.size, env_.limits);
        if (!status.ok()) return call.Finish(status);
        env_.metrics.received_payload_bytes.Add(args.data.size);
        ApplyAndFinish(
            call, {args.disk, args.transaction, args.durability},
            {.kind = ChangeKind::kWrite, .offset = args.offset, .pieces = args.data.pieces},
            [response](OpSeq seq) { *response = WriteResponseOf(seq); });
      });
}

grpc::ServerUnaryReactor* IoServiceImpl::WriteZeroes(grpc::CallbackServerContext* context,
                                                     const v1::WriteZeroesRequest* request,
                                                     v1::WriteZeroesResponse* response) {
  return UnaryCall::Start(
      env_, Method::kWriteZeroes, *context, 0, env_.writers,
      [this, request, response](UnaryCall& call) {
        ApplyAndFinish(call, {request->disk(), request->transaction(), request->durability()},
                       {.kind = ChangeKind::kWriteZeroes,
                        .offset = request->offset(),
                        .length = request->length()},
                       [response](OpSeq seq) { response->set_seq(seq.v); });
      });
}

grpc::ServerUnaryReactor* IoServiceImpl::Discard(grpc::CallbackServerContext* context,
                                                 const v1::DiscardRequest* request,
                                                 v1::DiscardResponse* response) {
  return UnaryCall::Start(
      env_, Method::kDiscard, *context, 0, env_.writers,
      [this, request, response](UnaryCall& call) {
        ApplyAndFinish(call, {request->disk(), request->transaction(), request->durability()},
                       {.kind = ChangeKind::kDiscard,
                        .offset = request->offset(),
                        .length = request->length()},
                       [response](OpSeq seq) { response->set_seq(seq.v); });
      });
}

grpc::ServerUnaryReactor* IoServiceImpl::Sync(grpc::CallbackServerContext* context,
                                              const v1::SyncRequest* request,
                                              v1::SyncResponse* response) {
  return UnaryCall::Start(
      env_, Method::kSync, *context, 0, env_.control, [this, request, response](UnaryCall& call) {
        auto done = [&call, response](absl::StatusOr<SyncResult> result) {
          if (result.ok()) ToProto(*result, *response);
          call.Finish(result.status());
        };
        const int scopes =
            (request->seq() != 0) + !request->disk().empty() + !request->pfs().empty();
        if (scopes > 1) {
          return call.Finish(absl::InvalidArgumentError(
              "disk, seq, pfs: more than one is set; legal: at most one of them"));
        }
        if (request->seq() != 0) {
          const OpSeq newest = env_.volume.GetStatus().opseq;
          if (request->seq() > newest.v) {
            return call.Finish(absl::OutOfRangeError(
                absl::StrCat("seq: ", request->seq(), "; legal: at most ", newest.v)));
          }
          return env_.volume.SyncToAsync(OpSeq(request->seq()), {}, std::move(done));
        }
        if (!request->pfs().empty()) {
          const absl::StatusOr<std::string> label = ParsePfsName(request->pfs());
          if (!label.ok()) return call.Finish(label.status());
          return env_.volume.SyncPfsAsync(*label, std::move(done));
        }
        if (request->disk().empty()) return env_.volume.SyncAsync(nullptr, std::move(done));
        const absl::StatusOr<DiskRef> disk = OpenDisk(request->disk());
        if (!disk.ok()) return call.Finish(disk.status());
        env_.volume.SyncAsync(*disk, std::move(done));
      });
}

}  // namespace h2bd
