#include "server/request_table.h"

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace h2bd {

absl::StatusOr<const std::string*> RequestTable::FindOrBegin(const std::string& id,
                                                             absl::string_view request,
                                                             absl::Time deadline) {
  ForgetOld();
  for (;;) {
    const auto [it, inserted] = entries_.try_emplace(id);
    if (inserted) {
      it->second.request = std::string(request);
      return nullptr;
    }
    if (it->second.request != request) {
      return absl::InvalidArgumentError("request_id was used before for another request");
    }
    if (!it->second.running) return &it->second.answer;
    const auto ended = [this, &id]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      const auto entry = entries_.find(id);
      return entry == entries_.end() || !entry->second.running;
    };
    if (!mu_.AwaitWithDeadline(absl::Condition(&ended), deadline)) {
      return absl::DeadlineExceededError("the first request with this request_id is still running");
    }
  }
}

absl::StatusOr<std::string> RequestTable::Run(
    absl::string_view id, absl::string_view request, absl::Time deadline,
    absl::FunctionRef<absl::StatusOr<std::string>()> work) {
  if (id.empty()) return work();
  if (id.size() > kMaxIdBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("request_id: ", id.size(), " bytes; legal: at most ", kMaxIdBytes));
  }
  const std::string key(id);
  {
    absl::MutexLock lock(&mu_);
    H2_ASSIGN_OR_RETURN(const std::string* answer, FindOrBegin(key, request, deadline));
    if (answer != nullptr) return *answer;
  }
  absl::StatusOr<std::string> answer = work();
  absl::MutexLock lock(&mu_);
  if (!answer.ok()) {
    entries_.erase(key);
    return answer;
  }
  Entry& entry = entries_[key];
  entry.answer = *answer;
  entry.running = false;
  finished_.push_back({clock_.MonotonicNow(), key});
  ForgetOld();
  return answer;
}

void RequestTable::ForgetOld() {
  const absl::Duration now = clock_.MonotonicNow();
  while (!finished_.empty() &&
         (finished_.size() > capacity_ || now - finished_.front().finished > lifetime_)) {
    entries_.erase(finished_.front().id);
    finished_.pop_front();
  }
}

size_t RequestTable::size() const {
  absl::MutexLock lock(&mu_);
  return entries_.size();
}

}  // namespace h2bd
