#include "core/fsck/check.h"

#include <vector>

#include "absl/strings/str_format.h"
#include "core/fsck/finding_log.h"
#include "core/fsck/freemap_check.h"
#include "core/fsck/header_check.h"
#include "core/fsck/media_reader.h"
#include "core/fsck/namespace_check.h"
#include "core/fsck/topology_check.h"

namespace h2bd {
namespace {

class Checker {
 public:
  Checker(HeaderCheck headers, const CheckOptions& options, FindingLog& log, CheckReport& report)
      : headers_(std::move(headers)),
        options_(options),
        log_(log),
        report_(report),
        source_(headers_.parts),
        topology_(source_, options_, log_),
        names_(log_, options_.all_slots_strict) {}

  void Run() {
    for (const HeaderToWalk& h : headers_.headers) {
      log_.BeginSlot(h.slot, h.newest);
      CheckGeneration(h);
    }
    log_.EndSlots();
    CountSpace();
  }

 private:
  void CheckGeneration(const HeaderToWalk& h) {
    FreemapView freemap = FreemapView::Load(source_, *h.header, log_);
    freemap.CheckFreeCount(*h.header, log_);
    Generation generation;
    generation.slot = h.slot;
    generation.header = h.header.get();
    generation.freemap = &freemap;
    if (newest_freemap_ != nullptr) {
      generation.newest_ledger = &newest_ledger_;
      generation.newest_freemap = newest_freemap_.get();
    }
    TopologyCheck::Result found = topology_.Walk(generation);
    freemap.CheckLinear(generation.ledger, log_);
    MediaReader reader(MediaSource(headers_.parts), *h.header);
    names_.Check(reader, found.pfses);

    found.totals.freemap_nodes = freemap.nodes();
    found.totals.freemap_leaves = freemap.leaves();
    report_.slots.push_back({h.slot, h.header->mirror_tid.v, h.newest, found.totals});
    in_use_.Add(generation.ledger);
    if (newest_freemap_ == nullptr) {
      newest_freemap_ = std::make_unique<FreemapView>(std::move(freemap));
      newest_ledger_ = std::move(generation.ledger);
    }
  }

  void CountSpace() {
    // Seen through one header only, what another one holds would look like a leak.
    if (newest_freemap_ == nullptr || options_.slot.has_value()) return;
    const FreemapView::Space space = newest_freemap_->CountSpace(in_use_);
    report_.leaked_bytes = space.leaked_bytes;
    report_.staged_bytes = space.staged_bytes;
    if (space.leaked_bytes > 0) {
      log_.Add(FindingCode::kFreemapLeak, "",
               absl::StrFormat("%d bytes are allocated, but no header refers to them",
                               space.leaked_bytes));
    }
  }

  const HeaderCheck headers_;
  const CheckOptions& options_;
  FindingLog& log_;
  CheckReport& report_;
  MediaSource source_;
  TopologyCheck topology_;
  NamespaceCheck names_;
  BlockLedger newest_ledger_;
  std::unique_ptr<FreemapView> newest_freemap_;
  UsedChunks in_use_;
};

}  // namespace

CheckReport CheckDevices(std::span<BlockDevice* const> devices, const CheckOptions& options) {
  CheckReport report;
  FindingLog log(report, options.all_slots_strict, options.findings_max);
  Checker(CheckHeaders(devices, options.slot, log), options, log, report).Run();
  return report;
}

CheckReport CheckVolume(VolumeSet& set, const CheckOptions& options) {
  std::vector<BlockDevice*> devices;
  for (size_t i = 0; i < set.devices->size(); ++i) devices.push_back(&set.devices->device(i));
  return CheckDevices(devices, options);
}

}  // namespace h2bd
