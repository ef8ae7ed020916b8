#include "client/api/io.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "client/api/client.h"
#include "client/api/convert.h"
#include "client/api/resource_name.h"
#include "core/base/status.h"

namespace h2bd::client {
namespace {

std::string What(absl::string_view verb, const IoTarget& target, uint64_t length) {
  return absl::StrCat(verb, " ", target.disk.ToString(), ", ", length, " bytes at offset ",
                      target.offset);
}

// Write, WriteZeroes and Discard differ in how they say what to write.
template <class Request, class Response>
absl::StatusOr<uint64_t> CallMutation(Connection& connection, const IoTarget& target,
                                      Request& request,
                                      grpc::Status (v1::IoService::StubInterface::*method)(
                                          grpc::ClientContext*, const Request&, Response*),
                                      const CallOptions& options, const std::string& what) {
  request.set_disk(target.disk.ToResource());
  request.set_offset(target.offset);
  request.set_transaction(target.transaction);
  request.set_durability(ToProto(target.durability));
  const bool staged = !target.transaction.empty();
  Response response;
  std::string instance;
  H2_RETURN_IF_ERROR(Call(connection, *connection.io, method, request, &response, options,
                          staged ? Repeat::kNever : Repeat::kWhenUnavailable, what, &instance));
  if (!staged && target.durability == Durability::kAccepted) {
    connection.restarts.Acknowledged(instance, request.disk(), response.seq());
  }
  return response.seq();
}

}  // namespace

absl::Status CallRead(const Connection& connection, const IoTarget& target, ByteSpan into,
                      const CallOptions& options) {
  v1::ReadRequest request;
  request.set_disk(target.disk.ToResource());
  request.set_offset(target.offset);
  request.set_length(into.size());
  request.set_transaction(target.transaction);
  v1::ReadResponse response;
  const std::string what = What("read", target, into.size());
  H2_RETURN_IF_ERROR(Call(connection, *connection.io, &v1::IoService::StubInterface::Read, request,
                          &response, options, Repeat::kWhenUnavailable, what));
  if (response.data().size() != into.size()) {
    return absl::InternalError(
        absl::StrCat(what, ": the server gave ", response.data().size(), " bytes"));
  }
  if (!into.empty()) std::memcpy(into.data(), response.data().data(), into.size());
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> CallWrite(Connection& connection, const IoTarget& target,
                                   ConstByteSpan bytes, const CallOptions& options) {
  v1::WriteRequest request;
  request.set_data(bytes.data(), bytes.size());
  return CallMutation(connection, target, request, &v1::IoService::StubInterface::Write, options,
                      What("write", target, bytes.size()));
}

absl::StatusOr<uint64_t> CallWriteZeroes(Connection& connection, const IoTarget& target,
                                         uint64_t length, const CallOptions& options) {
  v1::WriteZeroesRequest request;
  request.set_length(length);
  return CallMutation(connection, target, request, &v1::IoService::StubInterface::WriteZeroes,
                      options, What("write zeros to", target, length));
}

absl::StatusOr<uint64_t> CallDiscard(Connection& connection, const IoTarget& target,
                                     uint64_t length, const CallOptions& options) {
  v1::DiscardRequest request;
  request.set_length(length);
  return CallMutation(connection, target, request, &v1::IoService::StubInterface::Discard, options,
                      What("discard on", target, length));
}

absl::StatusOr<SyncInfo> CallSync(Connection& connection, const SyncCall& call,
                                  const CallOptions& options) {
  v1::SyncRequest request;
  request.set_disk(call.disk);
  request.set_seq(call.seq);
  request.set_pfs(call.pfs);
  v1::SyncResponse response;
  std::string instance;
  const RestartWatch::Target target =
      connection.restarts.BeginSync(call.pfs.empty() ? call.disk : call.pfs + "/");
  H2_RETURN_IF_ERROR(Call(connection, *connection.io, &v1::IoService::StubInterface::Sync, request,
                          &response, options, Repeat::kWhenUnavailable, "sync", &instance));
  // A Sync up to a number (of a transaction) says nothing of other writes.
  if (call.seq == 0) {
    H2_RETURN_IF_ERROR(connection.restarts.EndSync(target, instance, response.durable_seq()));
  }
  return FromProto(response);
}

absl::Status Client::Read(const DiskName& disk, uint64_t offset, ByteSpan into,
                          const CallOptions& options) {
  return CallRead(*connection_, {.disk = disk, .offset = offset}, into, options);
}

absl::StatusOr<uint64_t> Client::Write(const DiskName& disk, uint64_t offset, ConstByteSpan bytes,
                                       Durability durability, const CallOptions& options) {
  return CallWrite(*connection_, {.disk = disk, .offset = offset, .durability = durability}, bytes,
                   options);
}

absl::StatusOr<uint64_t> Client::WriteZeroes(const DiskName& disk, uint64_t offset, uint64_t length,
                                             Durability durability, const CallOptions& options) {
  return CallWriteZeroes(*connection_, {.disk = disk, .offset = offset, .durability = durability},
                         length, options);
}

absl::StatusOr<uint64_t> Client::Discard(const DiskName& disk, uint64_t offset, uint64_t length,
                                         Durability durability, const CallOptions& options) {
  return CallDiscard(*connection_, {.disk = disk, .offset = offset, .durability = durability},
                     length, options);
}

absl::StatusOr<SyncInfo> Client::Sync(const DiskName& disk, const CallOptions& options) {
  return CallSync(*connection_, {.disk = disk.ToResource()}, options);
}

absl::StatusOr<SyncInfo> Client::SyncPfs(const std::string& label, const CallOptions& options) {
  return CallSync(*connection_, {.pfs = PfsResource(label)}, options);
}

absl::StatusOr<SyncInfo> Client::SyncAll(const CallOptions& options) {
  return CallSync(*connection_, {}, options);
}

}  // namespace h2bd::client
