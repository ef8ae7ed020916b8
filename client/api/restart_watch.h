// Notices that a Sync came too late: that the server restarted between the acknowledgement of a
// write and the Sync that was to make it durable. The new server knows nothing of the write and
// answers the Sync with OK.
//
// Two signs: the text that each server process draws and sends with every answer (metadata
// kInstanceKey), and the numbers of changes, which a new process begins anew.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace h2bd::client {

// Initial metadata of every answer: a text that differs between any two server processes. A server
// that does not send it is watched by its numbers of changes alone.
inline constexpr char kInstanceKey[] = "h2bd-instance";

// Thread-safe.
class RestartWatch {
 public:
  // A write to `disk` (its resource name) was acknowledged as visible, not as durable. `instance`
  // may be empty: not known.
  void Acknowledged(absl::string_view instance, const std::string& disk, uint64_t seq);

  // What a Sync that begins now must cover. `scope`: a disk's resource name; or, ending in '/',
  // what the names of its disks begin with; "": all of them.
  struct Target {
    std::string scope;
    std::string instance;
    uint64_t seq = 0;  // 0: nothing
  };
  Target BeginSync(const std::string& scope) const;
  // Whether an OK to that Sync, by `instance` with `durable_seq`, keeps the promise: OK, or
  // kAborted with kReasonServerRestarted, from then on for ever.
  absl::Status EndSync(const Target& target, absl::string_view instance, uint64_t durable_seq);

 private:
  mutable absl::Mutex mu_;
  std::string instance_ ABSL_GUARDED_BY(mu_);  // that acknowledged last; "": none, or not known
  // Disk -> the highest number of its changes that no Sync has covered yet.
  std::map<std::string, uint64_t> unsynced_ ABSL_GUARDED_BY(mu_);
  bool lost_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace h2bd::client
