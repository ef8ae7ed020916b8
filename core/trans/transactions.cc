#include "core/trans/transactions.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace h2bd {
namespace {

constexpr size_t kEndedRemembered = 4096;
constexpr size_t kLabelBytesMax = 128;

std::string NameOf(TxnId id) { return absl::StrCat("transaction ", id.v); }

absl::Status LimitReached(TxnId id, absl::string_view what, uint64_t limit) {
  return absl::ResourceExhaustedError(
      absl::StrCat(NameOf(id), ": at the limit of ", limit, " ", what));
}

uint64_t MemoryOf(const StagedWrite& write) { return write.bytes == nullptr ? 0 : write.length; }

absl::Status CheckRange(TxnId id, const StagedWrite& write) {
  if (write.bytes != nullptr && write.bytes->size() != write.length) {
    return absl::InvalidArgumentError(absl::StrCat(NameOf(id), ": a write of length ", write.length,
                                                   " came with ", write.bytes->size(), " bytes"));
  }
  if (write.length > UINT64_MAX - write.offset) {
    return absl::InvalidArgumentError(absl::StrCat(NameOf(id), ": length ", write.length,
                                                   " at offset ", write.offset, " passes 2^64"));
  }
  return absl::OkStatus();
}

std::string RangeText(uint64_t begin, uint64_t end) {
  return end == UINT64_MAX ? absl::StrCat("bytes from ", begin, " on")
                           : absl::StrCat("bytes [", begin, ", ", end, ")");
}

}  // namespace

absl::string_view Name(TxnState state) {
  switch (state) {
    case TxnState::kOpen:
      return "OPEN";
    case TxnState::kPreparing:
      return "PREPARING";
    case TxnState::kApplied:
      return "APPLIED";
    case TxnState::kDurable:
      return "DURABLE";
    case TxnState::kAborted:
      return "ABORTED";
    case TxnState::kExpired:
      return "EXPIRED";
  }
  return "?";
}

TransactionTable::TransactionTable(const TransactionLimits& limits, Clock& clock)
    : limits_(limits),
      clock_(clock),
      next_id_(static_cast<uint64_t>(std::max<int64_t>(1, absl::ToUnixMicros(clock.WallNow())))) {}

// --- life
// --------------------------------------------------------------------------------------------

absl::StatusOr<TxnInfo> TransactionTable::Begin(const TxnOptions& options) {
  if (options.timeout < absl::ZeroDuration() || options.timeout > limits_.total_timeout) {
    return absl::InvalidArgumentError(
        absl::StrCat("transaction timeout ", absl::FormatDuration(options.timeout),
                     ", legal: 0 (the limit) to ", absl::FormatDuration(limits_.total_timeout)));
  }
  if (options.label.size() > kLabelBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("transaction label of ", options.label.size(),
                                                   " bytes, legal: at most ", kLabelBytesMax));
  }
  absl::MutexLock lock(&mu_);
  ExpireLocked();
  H2_RETURN_IF_ERROR(CheckOpenLimits(options.session));
  const TxnId id(next_id_++);
  const absl::Duration now = clock_.MonotonicNow();
  Transaction& txn = open_[id];
  txn.info.id = id;
  txn.idle_at = now + limits_.idle_timeout;
  txn.total_at =
      now + (options.timeout == absl::ZeroDuration() ? limits_.total_timeout : options.timeout);
  next_expiry_ = std::min(next_expiry_, txn.expires_at());
  txn.exclusive = options.exclusive;
  if (txn.exclusive) ++exclusive_open_;
  txn.info.durable_by_default = options.durable;
  txn.session = options.session;
  if (!txn.session.empty()) ++open_in_session_[txn.session];
  begun_.Add();
  TxnInfo info = txn.info;
  info.expires_in = txn.expires_at() - now;
  return info;
}

absl::Status TransactionTable::CheckOpenLimits(const std::string& session) const {
  if (open_.size() >= limits_.open_transactions) {
    return absl::ResourceExhaustedError(
        absl::StrCat("at the limit of ", limits_.open_transactions, " open transactions"));
  }
  const auto of_session = open_in_session_.find(session);
  if (of_session != open_in_session_.end() && of_session->second >= limits_.open_per_session) {
    return absl::ResourceExhaustedError(absl::StrCat("at the limit of ", limits_.open_per_session,
                                                     " open transactions per session"));
  }
  return absl::OkStatus();
}

void TransactionTable::ExpireOld() {
  absl::MutexLock lock(&mu_);
  ExpireLocked();
}

void TransactionTable::ExpireLocked() {
  const absl::Duration now = clock_.MonotonicNow();
  if (now < next_expiry_) return;
  std::vector<TxnId> late;
  next_expiry_ = absl::InfiniteDuration();
  for (const auto& [id, txn] : open_) {
    if (txn.info.state != TxnState::kOpen) continue;
    if (txn.expires_at() <= now) {
      late.push_back(id);
    } else {
      next_expiry_ = std::min(next_expiry_, txn.expires_at());
    }
  }
  for (const TxnId id : late) End(id, TxnState::kExpired, OpSeq());
}

TxnInfo TransactionTable::End(TxnId id, TxnState state, OpSeq seq) {
  const auto node = open_.extract(id);
  H2_ASSERT(!node.empty());
  const Transaction& txn = node.mapped();
  TxnInfo info = txn.info;
  for (const auto& [disk, ranges] : txn.ranges) {
    if (state == TxnState::kApplied) info.disks.push_back(disk);
    std::vector<TxnId>& stagers = staging_on_[disk];
    stagers.erase(std::find(stagers.begin(), stagers.end(), id));
    if (stagers.empty()) staging_on_.erase(disk);
  }
  staged_bytes_ -= txn.info.staged_bytes;
  if (txn.exclusive) --exclusive_open_;
  const auto of_session = open_in_session_.find(txn.session);
  if (of_session != open_in_session_.end() && --of_session->second == 0) {
    open_in_session_.erase(of_session);
  }
  (state == TxnState::kApplied   ? applied_
   : state == TxnState::kExpired ? expired_
                                 : aborted_)
      .Add();
  info.state = state;
  info.seq = seq;
  ended_[id] = info;
  ended_order_.push_back(id);
  if (ended_order_.size() > kEndedRemembered) {
    ended_.erase(ended_order_.front());
    ended_order_.pop_front();
  }
  return info;
}

void TransactionTable::AbortAll() {
  absl::MutexLock lock(&mu_);
  std::vector<TxnId> ids;
  for (const auto& [id, txn] : open_) {
    // The outcome of one that is being prepared is its committer's.
    if (txn.info.state == TxnState::kOpen) ids.push_back(id);
  }
  for (const TxnId id : ids) End(id, TxnState::kAborted, OpSeq());
}

// --- staging
// -----------------------------------------------------------------------------------------

absl::StatusOr<TxnInfo> TransactionTable::FindEnded(TxnId id) const {
  const auto it = ended_.find(id);
  if (it != ended_.end()) return it->second;
  return absl::NotFoundError(absl::StrCat(NameOf(id), ": not known, or forgotten since it ended"));
}

absl::StatusOr<TransactionTable::Transaction*> TransactionTable::FindOpen(TxnId id) {
  ExpireLocked();
  const auto it = open_.find(id);
  TxnState state = TxnState::kOpen;
  if (it == open_.end()) {
    H2_ASSIGN_OR_RETURN(const TxnInfo ended, FindEnded(id));
    state = ended.state;
  } else {
    state = it->second.info.state;
  }
  if (state != TxnState::kOpen) {
    return absl::FailedPreconditionError(
        absl::StrCat(NameOf(id), ": is ", Name(state), ", not OPEN"));
  }
  it->second.idle_at = clock_.MonotonicNow() + limits_.idle_timeout;
  return &it->second;
}

absl::Status TransactionTable::CheckLimits(const Transaction& txn, const StagedWrite& write) const {
  const uint64_t memory = MemoryOf(write);
  const TxnId id = txn.info.id;
  // Compared from the side of the limit: a sum could wrap.
  if (memory > limits_.staged_bytes_per_transaction ||
      txn.info.staged_bytes > limits_.staged_bytes_per_transaction - memory) {
    return LimitReached(id, "staged bytes per transaction", limits_.staged_bytes_per_transaction);
  }
  if (memory > limits_.staged_bytes_total || staged_bytes_ > limits_.staged_bytes_total - memory) {
    return LimitReached(id, "staged bytes of all transactions", limits_.staged_bytes_total);
  }
  if (txn.info.writes >= limits_.writes_per_transaction) {
    return LimitReached(id, "writes per transaction", limits_.writes_per_transaction);
  }
  if (!txn.ranges.contains(write.disk) && txn.ranges.size() >= limits_.disks_per_transaction) {
    return LimitReached(id, "disks per transaction", limits_.disks_per_transaction);
  }
  return absl::OkStatus();
}

std::optional<TxnId> TransactionTable::Rival(const Transaction& txn,
                                             const StagedWrite& write) const {
  const auto stagers = staging_on_.find(write.disk);
  if (stagers == staging_on_.end()) return std::nullopt;
  for (const TxnId other : stagers->second) {
    if (other == txn.info.id) continue;
    const IntervalSet& taken = open_.at(other).ranges.at(write.disk);
    if (taken.Overlaps(write.offset, write.offset + write.length)) return other;
  }
  return std::nullopt;
}

absl::Status TransactionTable::Stage(TxnId id, StagedWrite write) {
  absl::MutexLock lock(&mu_);
  H2_ASSIGN_OR_RETURN(Transaction * txn, FindOpen(id));
  H2_RETURN_IF_ERROR(CheckRange(id, write));
  if (write.length == 0) return absl::OkStatus();
  return StageLocked(*txn, std::move(write));
}

absl::Status TransactionTable::StageSize(TxnId id, const DiskId& disk, uint64_t committed_size,
                                         uint64_t new_size) {
  absl::MutexLock lock(&mu_);
  H2_ASSIGN_OR_RETURN(Transaction * txn, FindOpen(id));
  const auto staged = txn->sizes.find(disk);
  const uint64_t old_size = staged == txn->sizes.end() ? committed_size : staged->second;
  const uint64_t from = std::min(old_size, new_size);
  H2_RETURN_IF_ERROR(StageLocked(*txn, {disk, from, UINT64_MAX - from, nullptr, new_size}));
  txn->sizes[disk] = new_size;
  return absl::OkStatus();
}

absl::Status TransactionTable::StageLocked(Transaction& txn, StagedWrite write) {
  H2_RETURN_IF_ERROR(CheckLimits(txn, write));
  const TxnId id = txn.info.id;
  const uint64_t end = write.offset + write.length;
  const std::optional<TxnId> rival = Rival(txn, write);
  if (rival.has_value()) {
    conflicts_.Add();
    return absl::AbortedError(absl::StrCat(NameOf(id), ": ", RangeText(write.offset, end),
                                           " of the disk meet what ", NameOf(*rival),
                                           " has staged"));
  }
  const auto [ranges, first_on_disk] = txn.ranges.try_emplace(write.disk);
  if (first_on_disk) staging_on_[write.disk].push_back(id);
  ranges->second.Add(write.offset, end);
  txn.info.staged_bytes += MemoryOf(write);
  staged_bytes_ += MemoryOf(write);
  ++txn.info.writes;
  txn.writes.push_back(std::move(write));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StagedWrite>> TransactionTable::StagedOn(TxnId id, const DiskId& disk,
                                                                    uint64_t offset,
                                                                    uint64_t length) {
  absl::MutexLock lock(&mu_);
  H2_ASSIGN_OR_RETURN(const Transaction* txn, FindOpen(id));
  std::vector<StagedWrite> meeting;
  const auto ranges = txn->ranges.find(disk);
  if (length == 0 || ranges == txn->ranges.end()) return meeting;
  const uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
  if (!ranges->second.Overlaps(offset, end)) return meeting;
  for (const StagedWrite& write : txn->writes) {
    if (write.disk == disk && write.offset < end && write.offset + write.length > offset) {
      meeting.push_back(write);
    }
  }
  return meeting;
}

absl::StatusOr<std::optional<uint64_t>> TransactionTable::StagedSize(TxnId id, const DiskId& disk) {
  absl::MutexLock lock(&mu_);
  H2_ASSIGN_OR_RETURN(const Transaction* txn, FindOpen(id));
  const auto staged = txn->sizes.find(disk);
  if (staged == txn->sizes.end()) return std::optional<uint64_t>();
  return std::optional<uint64_t>(staged->second);
}

absl::Status TransactionTable::CheckPlainChange(const DiskId& disk, uint64_t offset,
                                                uint64_t length) const {
  if (exclusive_open_.load(std::memory_order_acquire) == 0) return absl::OkStatus();
  absl::MutexLock lock(&mu_);
  const auto stagers = staging_on_.find(disk);
  if (stagers == staging_on_.end()) return absl::OkStatus();
  for (const TxnId id : stagers->second) {
    const Transaction& txn = open_.at(id);
    const bool expired =
        txn.info.state == TxnState::kOpen && txn.expires_at() <= clock_.MonotonicNow();
    if (!txn.exclusive || expired) continue;
    if (txn.ranges.at(disk).Overlaps(offset, offset + length)) {
      return absl::AbortedError(absl::StrCat(RangeText(offset, offset + length),
                                             " of the disk meet what the exclusive ", NameOf(id),
                                             " has staged"));
    }
  }
  return absl::OkStatus();
}

bool TransactionTable::HasStaging(const DiskId& disk) const {
  absl::MutexLock lock(&mu_);
  return staging_on_.contains(disk);
}

bool TransactionTable::HasStagingIn(Key pfs) const {
  absl::MutexLock lock(&mu_);
  return std::any_of(staging_on_.begin(), staging_on_.end(),
                     [&](const auto& entry) { return entry.first.pfs == pfs; });
}

// --- commit
// ------------------------------------------------------------------------------------------

absl::StatusOr<std::vector<StagedWrite>> TransactionTable::Prepare(TxnId id) {
  absl::MutexLock lock(&mu_);
  H2_ASSIGN_OR_RETURN(Transaction * txn, FindOpen(id));
  txn->info.state = TxnState::kPreparing;
  return std::exchange(txn->writes, {});
}

TxnInfo TransactionTable::EndPrepared(TxnId id, TxnState state, OpSeq seq) {
  absl::MutexLock lock(&mu_);
  H2_ASSERT(IsPreparing(id));
  return End(id, state, seq);
}

TxnInfo TransactionTable::Applied(TxnId id, OpSeq seq) {
  return EndPrepared(id, TxnState::kApplied, seq);
}

TxnInfo TransactionTable::Failed(TxnId id) { return EndPrepared(id, TxnState::kAborted, OpSeq()); }

bool TransactionTable::IsPreparing(TxnId id) const {
  const auto it = open_.find(id);
  return it != open_.end() && it->second.info.state == TxnState::kPreparing;
}

absl::StatusOr<TxnInfo> TransactionTable::Abort(TxnId id) {
  absl::MutexLock lock(&mu_);
  ExpireLocked();
  if (IsPreparing(id)) {
    const auto decided = [this, id]()
                             ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !IsPreparing(id); };
    mu_.Await(absl::Condition(&decided));
    return FindEnded(id);
  }
  if (open_.contains(id)) return End(id, TxnState::kAborted, OpSeq());
  H2_ASSIGN_OR_RETURN(const TxnInfo info, FindEnded(id));
  if (info.state == TxnState::kApplied) {
    return absl::FailedPreconditionError(
        absl::StrCat(NameOf(id), ": is APPLIED, cannot be aborted"));
  }
  return info;
}

absl::StatusOr<TxnInfo> TransactionTable::Get(TxnId id, OpSeq durable) {
  absl::MutexLock lock(&mu_);
  ExpireLocked();
  const auto it = open_.find(id);
  if (it != open_.end()) {
    TxnInfo info = it->second.info;
    if (info.state == TxnState::kOpen) {
      info.expires_in = it->second.expires_at() - clock_.MonotonicNow();
    }
    return info;
  }
  H2_ASSIGN_OR_RETURN(TxnInfo info, FindEnded(id));
  if (info.state == TxnState::kApplied && info.seq <= durable) info.state = TxnState::kDurable;
  return info;
}

// --- figures
// -----------------------------------------------------------------------------------------

uint64_t TransactionTable::staged_bytes() const {
  absl::MutexLock lock(&mu_);
  return staged_bytes_;
}

void TransactionTable::Describe(MetricVisitor& visitor) const {
  size_t open = 0;
  uint64_t staged = 0;
  {
    absl::MutexLock lock(&mu_);
    open = open_.size();
    staged = staged_bytes_;
  }
  visitor.OnGauge("h2bd_txn_open", "Open transactions.", {}, static_cast<double>(open));
  visitor.OnGauge("h2bd_txn_staged_bytes", "Bytes staged by open transactions.", {},
                  static_cast<double>(staged));
  const auto total = [&](const char* result, const Counter& counter) {
    visitor.OnCounter("h2bd_txn_total", "Transactions that ended, by result.", {{"result", result}},
                      static_cast<double>(counter.value()));
  };
  total("applied", applied_);
  total("aborted", aborted_);
  total("expired", expired_);
  visitor.OnCounter("h2bd_txn_begun_total", "Transactions begun.", {},
                    static_cast<double>(begun_.value()));
  visitor.OnCounter("h2bd_txn_conflicts_total", "Staged writes refused for an overlap.", {},
                    static_cast<double>(conflicts_.value()));
}

}  // namespace h2bd
