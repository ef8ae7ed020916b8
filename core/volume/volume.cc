#include "core/volume/volume.h"

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/volume/recovery.h"
#include "core/volume/volume_impl.h"

namespace h2bd {
namespace {

size_t FlusherThreads(const VolumeOptions& options) {
  if (options.manual_cycles) return 1;
  if (options.flusher_threads != 0) return options.flusher_threads;
  return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 8);
}

// DATA, the only PFS besides LOCAL, or none.
std::string DefaultPfs(const std::string& wanted, PfsTable& pfses) {
  if (!wanted.empty()) return wanted;
  std::vector<std::string> labels;
  for (const PfsInfo& pfs : pfses.List()) {
    if (pfs.label == "DATA") return pfs.label;
    if (pfs.label != "LOCAL" && pfs.subtype == 0) labels.push_back(pfs.label);
  }
  return labels.size() == 1 ? labels.front() : "";
}

absl::Status ClosedError() {
  return WithReason(absl::FailedPreconditionError("the volume is closed"), kReasonClosed);
}

void DescribeWorkers(const Executor& executor, MetricVisitor& visitor) {
  const std::vector<absl::Duration> busy = executor.BusyTimes();
  for (size_t i = 0; i < busy.size(); ++i) {
    visitor.OnCounter("h2bd_flush_worker_busy_seconds_total",
                      "Time for which a flusher worker has run tasks.",
                      {{"worker", absl::StrCat(i)}}, absl::ToDoubleSeconds(busy[i]));
  }
}

}  // namespace

Volume::Volume() = default;

Volume::~Volume() {
  if (impl_ != nullptr) impl_->Close().IgnoreError();  // whoever wants to know calls Close before
}

absl::StatusOr<std::unique_ptr<Volume>> Volume::Open(
    std::vector<std::unique_ptr<BlockDevice>> devices, const VolumeOptions& options,
    const VolumeEnv& env) {
  std::unique_ptr<Volume> volume(new Volume());
  volume->impl_ = std::make_unique<Impl>(options, env);
  H2_RETURN_IF_ERROR(volume->impl_->Open(std::move(devices)));
  return volume;
}

absl::Status Volume::Impl::Open(std::vector<std::unique_ptr<BlockDevice>> devices) {
  Logger& logger = *env.logger;
  H2_ASSIGN_OR_RETURN(set, AssembleVolumeSet(std::move(devices), logger, options.header_back));
  read_only = options.read_only || options.header_back != 0 || set.devices->read_only();
  ring = std::make_unique<HeaderRing>(*set.devices, set, logger);
  if (!read_only) {
    H2_RETURN_IF_ERROR(CheckHeaders());
    H2_RETURN_IF_ERROR(ring->Fence());
  }
  DioOptions dio_options;
  dio_options.writer_threads = options.manual_cycles ? 0 : 1;
  dio = std::make_unique<Dio>(*set.devices, dio_options, logger);
  if (!read_only) {
    H2_ASSIGN_OR_RETURN(freemap, Freemap::Open(*set.header, *ring, *dio, logger));
  }
  BlockAllocator& allocator = read_only ? static_cast<BlockAllocator&>(refusing) : *freemap;
  store = std::make_unique<BlockStore>(*dio, allocator, set.header->address_space());
  chains = std::make_unique<ChainCache>(options.chain_cache_bytes);
  H2_ASSIGN_OR_RETURN(pfses, PfsTable::Open(*set.header, *store, *chains, logger));
  default_pfs = DefaultPfs(options.default_pfs, *pfses);

  cache = std::make_unique<BlockCache>(options.block_cache_bytes);
  gate = std::make_unique<TransGate>(*env.clock);
  dirty = std::make_unique<DirtyRegistry>(*env.clock, [this] {
    if (commit == nullptr) return;
    commit->NoteDirty();
    // Somebody waits for memory whose holder had not applied its change when the last cycle began.
    if (budget->has_waiters()) commit->Request();
  });
  budget = std::make_unique<ByteBudget>(
      options.dirty_limit_bytes,
      static_cast<uint64_t>(static_cast<double>(options.dirty_limit_bytes) *
                            options.flush_start_fraction),
      *env.clock,
      [this] {
        if (commit != nullptr) commit->Request();
      },
      /*throttle=*/!options.manual_cycles);
  names = std::make_unique<Namespace>(*store, *env.clock);
  changes = std::make_unique<PfsChanges>();
  transactions = std::make_unique<TransactionTable>(options.transactions, *env.clock);
  if (!options.manual_cycles) read_ahead = std::make_unique<ThreadPool>("h2bd-ra", 2);
  context = std::make_unique<StrategyContext>(
      StrategyContext{*store, *cache, *dirty, *env.clock, read_ahead.get()});
  if (!read_only) H2_RETURN_IF_ERROR(OpenForWriting());
  StartOperations();
  return absl::OkStatus();
}

absl::Status Volume::Impl::CheckHeaders() const {
  if (ring->slot_count() == 1 && !options.allow_one_header_slot) {
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            "the volume has a single header slot (", FormatBytes(set.header->volu_size),
            "; two slots need 2 GiB + 4 MiB, four need 6 GiB + 4 MiB): a torn header write could "
            "lose it; open it read-only, or allow one header slot explicitly")),
        kReasonOneHeaderSlot);
  }
  const std::optional<int> unread = ring->UnreadSlotThatMayBeNewest();
  if (unread.has_value() && !options.allow_unreadable_header) {
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            set.devices->root().name(), ": header slot ", *unread,
            " cannot be read and may hold a newer header than slot ", set.slot, " (mirror_tid ",
            set.header->mirror_tid.v,
            "): repair the device, open it read-only, or allow an unreadable header explicitly and "
            "lose what only that one has")),
        kReasonUnreadableHeader);
  }
  return absl::OkStatus();
}

absl::Status Volume::Impl::OpenForWriting() {
  if (env.flusher_executor != nullptr) {
    flusher_executor = env.flusher_executor;
  } else if (options.manual_cycles) {
    flusher_pool = std::make_unique<InlineExecutor>();
  } else {
    flusher_pool = std::make_unique<ThreadPool>("h2bd-fl", FlusherThreads(options));
  }
  if (flusher_executor == nullptr) flusher_executor = flusher_pool.get();
  const uint64_t highest_tid =
      std::max({set.header->mirror_tid.v, ring->highest_tid_seen().v, pfses->HighestModifyTid().v});
  if (highest_tid >= kTidLimit - 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("the transaction ids of the volume are used up: ", highest_tid,
                     ", legal: below 2^63 - 1; it can be opened read-only"));
  }
  FlusherParts parts{*set.devices, *dio,       *ring, *freemap, *store, *chains, *pfses,
                     *names,       *changes,   *gate, *dirty,   *cache, *budget, *flusher_executor,
                     *env.clock,   *env.logger};
  flusher = std::make_unique<Flusher>(parts, *set.header, Tid(pfses->HighestModifyTid().v + 1));
  const absl::Duration began = env.clock->MonotonicNow();
  H2_ASSIGN_OR_RETURN(const uint64_t recovered, RecoverFreemap(*set.header, *store, *freemap));
  HoldWhatOlderFreemapsMiss(set, *store, *freemap, *env.logger);
  recovery_time = env.clock->MonotonicNow() - began;
  metrics.recovered_blocks.Add(recovered);
  if (recovered != 0) {
    env.logger->Warning("the freemap lagged behind the topology; blocks were marked allocated",
                        {{"blocks", absl::StrCat(recovered)}});
    flusher->RequirePublish();
  }
  commit =
      std::make_unique<GroupCommit>(*flusher, *dirty, *env.clock,
                                    GroupCommitOptions{.manual = options.manual_cycles,
                                                       .sync_runs_cycle = options.sync_runs_cycle,
                                                       .age = options.flush_age},
                                    [this](const absl::Status& why) { budget->Close(why); });
  return absl::OkStatus();
}

Volume::Impl::~Impl() {
  // Threads first: they use everything else.
  operations.reset();
  if (commit != nullptr) commit->Stop();
  read_ahead.reset();
  commit.reset();
  flusher.reset();
  flusher_pool.reset();
  dirty.reset();
  // A handle that is still about would use what goes now.
  absl::MutexLock lock(&disks_mu);
  for (const auto& [id, disk] : disks) H2_ASSERT(disk.use_count() == 1);
}

absl::Status Volume::Close() { return impl_->Close(); }

absl::Status Volume::Impl::Close() {
  absl::MutexLock lock(&close_mu);
  if (closed) return close_status;
  closed = true;
  closing = true;
  if (operations != nullptr) operations->Stop();
  if (commit == nullptr) return absl::OkStatus();
  transactions->AbortAll();
  budget->Close(ClosedError());
  close_status = commit->RunNow(CycleReason::kClose).status;
  close_status.Update(HeldIn({}, gate->opseq()));
  commit->Stop();
  flusher->AbandonChanges(ClosedError());
  return close_status;
}

absl::Status Volume::Impl::CheckOpen() const { return closing ? ClosedError() : absl::OkStatus(); }

absl::Status Volume::Impl::CheckSyncs() const {
  if (read_only) {
    return WithReason(absl::FailedPreconditionError("the volume is open read-only"),
                      kReasonReadOnly);
  }
  return CheckOpen();
}

absl::Status Volume::Impl::CheckWritable() const {
  H2_RETURN_IF_ERROR(CheckSyncs());
  return commit->failure();
}

absl::Status Volume::RunCycle() {
  H2_ASSERT(impl_->options.manual_cycles);
  H2_RETURN_IF_ERROR(impl_->CheckWritable());
  return impl_->commit->RunNow(CycleReason::kRequest).status;
}

std::vector<CycleRecord> Volume::RecentCycles() const {
  if (impl_->flusher == nullptr) return {};
  return impl_->flusher->RecentCycles();
}

std::vector<PfsInfo> Volume::ListPfs() const { return impl_->pfses->List(); }

VolumeStatus Volume::GetStatus() {
  Impl& v = *impl_;
  VolumeStatus status;
  status.fsid = FormatUuid(v.set.header->fsid);
  status.version = v.set.header->version;
  status.total_bytes = v.store->total_size();
  for (size_t i = 0; i < v.set.devices->size(); ++i) {
    status.devices.push_back(v.set.devices->device(i).name());
  }
  status.header_slots = v.ring->slot_count();
  status.header_slot = v.set.slot;
  status.mirror_tid = v.set.header->mirror_tid;
  status.freemap_tid = v.set.header->freemap_tid;
  status.read_only = v.read_only;
  if (!v.read_only) {
    const SyncResult last = v.flusher->last_published();
    status.header_slot = last.header_slot;
    status.mirror_tid = last.mirror_tid;
    if (last.durable_opseq.v != 0) status.freemap_tid = last.mirror_tid;
    status.space = v.freemap->usage();
    status.durable_opseq = v.commit->durable();
    status.failure = v.commit->failure();
  }
  status.opseq = v.gate->opseq();
  status.dirty_bytes = v.budget->used() + v.budget->aside();
  status.dirty_limit_bytes = v.budget->limit();
  status.cached_block_bytes = v.cache->bytes();
  status.cached_chain_bytes = v.chains->bytes();
  status.pfses = v.pfses->List();
  status.default_pfs = v.default_pfs;
  return status;
}

void Volume::Describe(MetricVisitor& visitor) const {
  const Impl& v = *impl_;
  const auto gauge = [&](const char* name, const char* help, double value) {
    visitor.OnGauge(name, help, {}, value);
  };
  if (v.flusher != nullptr) v.flusher->metrics().Describe(visitor);
  if (v.freemap != nullptr) v.freemap->Describe(visitor);
  v.dio->Describe(visitor);
  for (size_t i = 0; i < v.set.devices->size(); ++i) {
    const BlockDevice& device = v.set.devices->device(i);
    visitor.OnGauge("h2bd_device_write_cache", "1; what the queue of the device says of its cache.",
                    {{"device", device.name()}, {"mode", device.write_cache()}}, 1);
  }
  v.store->metrics().Describe(visitor);
  visitor.OnCounter("h2bd_flush_device_write_bytes_total",
                    "Bytes handed to a device, by what they are.",
                    {{"device", v.set.devices->root().name()}, {"kind", "header"}},
                    static_cast<double>(v.ring->written_bytes()));
  if (v.flusher_executor != nullptr) DescribeWorkers(*v.flusher_executor, visitor);
  v.cache->Describe(visitor);
  v.transactions->Describe(visitor);
  v.operations->Describe(visitor);
  v.scrub_log.Describe(visitor);
  gauge("h2bd_opseq", "Last operation that was applied.", static_cast<double>(v.gate->opseq().v));
  visitor.OnHistogram("h2bd_cut_hold_seconds", "Time for which a cut held up new operations.", {},
                      v.gate->cut_hold());
  gauge("h2bd_dirty_bytes", "Memory of acknowledged data that is not durable yet.",
        static_cast<double>(v.budget->used() + v.budget->aside()));
  gauge("h2bd_dirty_limit_bytes", "Dirty bytes above which writers wait.",
        static_cast<double>(v.budget->limit()));
  gauge("h2bd_dirty_inodes", "Disks with changes that no confirmed header has.",
        v.flusher == nullptr ? 0 : static_cast<double>(v.flusher->CountDirtyDisks()));
  visitor.OnHistogram("h2bd_backpressure_wait_seconds", "Time writers waited for a resource.",
                      {{"resource", "dirty_bytes"}}, v.budget->waits());
  visitor.OnHistogram(
      "h2bd_backpressure_slowdown_seconds",
      "Time for which writers were slowed down as dirty memory came near its limit.", {},
      v.budget->slowdowns());
  gauge("h2bd_chain_cache_bytes", "Memory of tables of blockrefs.",
        static_cast<double>(v.chains->bytes()));
  visitor.OnCounter("h2bd_recovery_blocks_fixed_total",
                    "Blocks that the open had to mark allocated.", {},
                    static_cast<double>(v.metrics.recovered_blocks.value()));
  gauge("h2bd_recovery_seconds", "Time that recovery took at the open.",
        absl::ToDoubleSeconds(v.recovery_time));
  v.metrics.Describe(visitor);
}

void VolumeMetrics::Describe(MetricVisitor& visitor) const {
  const auto counter = [&](const char* name, const char* help, const char* op, const Counter& c) {
    visitor.OnCounter(name, help, {{"op", op}}, static_cast<double>(c.value()));
  };
  counter("h2bd_io_operations_total", "Disk operations that succeeded.", "read", read_ops);
  counter("h2bd_io_operations_total", "Disk operations that succeeded.", "write", write_ops);
  counter("h2bd_io_operations_total", "Disk operations that succeeded.", "zero", zero_ops);
  counter("h2bd_io_bytes_total", "Bytes read and written by clients.", "read", read_bytes);
  counter("h2bd_io_bytes_total", "Bytes read and written by clients.", "write", write_bytes);
  visitor.OnHistogram("h2bd_io_seconds", "Latency of disk operations inside the engine.",
                      {{"op", "read"}}, read_latency);
  visitor.OnHistogram("h2bd_io_seconds", "Latency of disk operations inside the engine.",
                      {{"op", "write"}}, write_latency);
  visitor.OnHistogram("h2bd_backpressure_wait_seconds", "Time writers waited for a resource.",
                      {{"resource", "space"}}, space_waits);
  const auto stage = [&](const char* name, const LatencyHistogram& took) {
    visitor.OnHistogram("h2bd_txn_commit_seconds",
                        "Duration of the stages of a Commit that was applied.", {{"stage", name}},
                        took);
  };
  stage("prepare", txn_prepare);
  stage("lock", txn_lock);
  stage("apply", txn_apply);
}

}  // namespace h2bd
