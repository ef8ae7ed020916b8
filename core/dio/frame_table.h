// Which frames exist, and which of them wait to be written. Private to core/dio.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/metrics.h"
#include "core/dio/frame.h"

namespace h2bd {

// The one owner of frames: at most one exists for an address, and it stays while somebody pins it.
// Frames that nobody pins are kept, least recently used first out, up to a limit. Not thread-safe:
// its user guards it.
class FrameTable {
 public:
  explicit FrameTable(size_t idle_max) : idle_max_(idle_max) {}

  Frame* Find(uint64_t base);        // pinned; nullptr where there is none
  Frame& FindOrMake(uint64_t base);  // pinned
  void Pin(Frame& frame);            // once more
  void Unpin(Frame& frame);          // the last one leaves it idle
  // The same, but its bytes are not worth keeping: the last one drops it.
  void UnpinAndForget(Frame& frame);
  size_t size() const { return slots_.size(); }

 private:
  struct Slot {
    std::unique_ptr<Frame> frame;
    size_t pins = 0;
    bool forget = false;                 // when the last pin goes
    std::list<uint64_t>::iterator idle;  // valid while pins == 0
  };
  Slot& SlotOf(const Frame& frame);

  const size_t idle_max_;
  absl::flat_hash_map<uint64_t, Slot> slots_;
  std::list<uint64_t> idle_;  // most recently used first
};

// What waits for the device, in the order of addresses, and what Drain still has to wait for. Not
// thread-safe: its user guards it.
class WriteQueue {
 public:
  explicit WriteQueue(Gauge& queued_bytes) : queued_bytes_(queued_bytes) {}

  // A ticket stands for content that became dirty and has not been written yet. Tickets ascend
  // from 1.
  uint64_t NewTicket();
  void Close(uint64_t ticket);
  uint64_t last_ticket() const { return last_ticket_; }
  // Whether no ticket up to `last` is open.
  bool ClosedUpTo(uint64_t last) const { return open_.empty() || *open_.begin() > last; }
  // Each open ticket holds a frame in memory.
  uint64_t bytes() const { return open_.size() * kPbufBytes; }

  // `complete`: nothing can be gained by waiting for more blocks of this frame.
  void Add(Frame& frame, bool complete);
  // The frame has become complete. Nothing happens when it has been taken already.
  void Promote(Frame& frame);
  bool has_complete() const { return !complete_.empty(); }
  bool empty() const { return complete_.empty() && partial_.empty(); }
  // Takes up to `max` frames, ascending, going on after the last ones taken and around; partial
  // ones only if `with_partial`.
  std::vector<Frame*> Take(size_t max, bool with_partial);
  // Take starts at the lowest address again.
  void Rewind() { cursor_ = 0; }

 private:
  using Frames = std::map<uint64_t, Frame*>;
  void TakeFromCursor(size_t max, bool with_partial, std::vector<Frame*>* taken);

  Gauge& queued_bytes_;
  uint64_t last_ticket_ = 0;
  std::set<uint64_t> open_;
  Frames complete_, partial_;
  uint64_t cursor_ = 0;  // addresses below were written in this sweep
};

}  // namespace h2bd
