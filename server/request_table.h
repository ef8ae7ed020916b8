// Answers to mutations that a client may repeat ("Request ids" in
// proto/h2bd/v1/disk_service.proto).
#pragma once

#include <deque>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/clock.h"

namespace h2bd {

// Thread-safe. Holds at most `capacity` answers, the oldest go first, and none longer than
// `lifetime`.
class RequestTable {
 public:
  static constexpr size_t kMaxIdBytes = 128;

  RequestTable(const Clock& clock, size_t capacity, absl::Duration lifetime)
      : clock_(clock), capacity_(capacity), lifetime_(lifetime) {}

  // Runs `work` and gives its answer; or, when a request with this id has succeeded before, that
  // answer. A repetition that arrives while the first is running waits for its outcome; a failure
  // is not remembered. `request` (method and content) must be the same for the same id:
  // kInvalidArgument otherwise. An empty id: just runs `work`. kDeadlineExceeded: the first one was
  // still running.
  absl::StatusOr<std::string> Run(absl::string_view id, absl::string_view request,
                                  absl::Time deadline,
                                  absl::FunctionRef<absl::StatusOr<std::string>()> work)
      ABSL_LOCKS_EXCLUDED(mu_);

  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    std::string request;
    std::string answer;
    bool running = true;
  };
  struct Age {
    absl::Duration finished;
    std::string id;
  };
  // The answer to a repetition, or an empty one after which the caller is the one who runs `work`.
  absl::StatusOr<const std::string*> FindOrBegin(const std::string& id, absl::string_view request,
                                                 absl::Time deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetOld() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Clock& clock_;
  const size_t capacity_;
  const absl::Duration lifetime_;
  mutable absl::Mutex mu_;
  absl::flat_hash_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mu_);
  std::deque<Age> finished_ ABSL_GUARDED_BY(mu_);  // oldest first
};

}  // namespace h2bd
