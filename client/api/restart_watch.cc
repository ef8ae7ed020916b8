#include "client/api/restart_watch.h"

#include <algorithm>
#include <map>

#include "client/api/types.h"
#include "core/base/status.h"

namespace h2bd::client {
namespace {

// `scope` is a disk, or everything whose name begins with it when it ends in '/' or is empty.
bool Covers(const std::string& scope, const std::string& disk) {
  const bool is_prefix = scope.empty() || scope.back() == '/';
  if (!is_prefix) return disk == scope;
  // The default PFS may be any: rather one disk too many.
  const bool either_is_default = scope == "pfs/-/" || disk.starts_with("pfs/-/");
  return either_is_default || disk.starts_with(scope);
}

bool Differ(absl::string_view a, absl::string_view b) { return !a.empty() && !b.empty() && a != b; }

}  // namespace

void RestartWatch::Acknowledged(absl::string_view instance, const std::string& disk, uint64_t seq) {
  absl::MutexLock lock(&mu_);
  if (Differ(instance_, instance)) {
    lost_ |= !unsynced_.empty();
    unsynced_.clear();
  }
  if (!instance.empty()) instance_ = std::string(instance);
  uint64_t& highest = unsynced_[disk];
  highest = std::max(highest, seq);
}

RestartWatch::Target RestartWatch::BeginSync(const std::string& scope) const {
  absl::MutexLock lock(&mu_);
  Target target{.scope = scope, .instance = instance_};
  for (const auto& [name, seq] : unsynced_) {
    if (Covers(scope, name)) target.seq = std::max(target.seq, seq);
  }
  return target;
}

absl::Status RestartWatch::EndSync(const Target& target, absl::string_view instance,
                                   uint64_t durable_seq) {
  absl::MutexLock lock(&mu_);
  if (target.seq != 0 && (Differ(target.instance, instance) || durable_seq < target.seq)) {
    lost_ = true;
  }
  if (lost_) {
    return WithReason(
        absl::AbortedError("the server restarted after it had acknowledged writes that were not "
                           "synced yet: they may be lost; connect anew and write them again"),
        kReasonServerRestarted);
  }
  // What was acknowledged while the Sync ran has higher numbers and is for the next one.
  std::erase_if(unsynced_, [&](const auto& entry) {
    return Covers(target.scope, entry.first) && entry.second <= target.seq;
  });
  return absl::OkStatus();
}

}  // namespace h2bd::client
