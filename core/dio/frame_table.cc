#include "core/dio/frame_table.h"

#include <algorithm>
#include <utility>

namespace h2bd {

Frame* FrameTable::Find(uint64_t base) {
  const auto it = slots_.find(base);
  if (it == slots_.end()) return nullptr;
  Pin(*it->second.frame);
  return it->second.frame.get();
}

Frame& FrameTable::FindOrMake(uint64_t base) {
  if (Frame* found = Find(base); found != nullptr) return *found;
  Slot& slot = slots_[base];
  slot.frame = std::make_unique<Frame>(base);
  slot.pins = 1;
  return *slot.frame;
}

FrameTable::Slot& FrameTable::SlotOf(const Frame& frame) {
  const auto it = slots_.find(frame.base);
  H2_ASSERT(it != slots_.end() && it->second.frame.get() == &frame);
  return it->second;
}

void FrameTable::Pin(Frame& frame) {
  Slot& slot = SlotOf(frame);
  if (slot.pins++ == 0) idle_.erase(slot.idle);
}

void FrameTable::Unpin(Frame& frame) {
  Slot& slot = SlotOf(frame);
  H2_ASSERT(slot.pins > 0);
  if (--slot.pins > 0) return;
  if (slot.forget) {
    slots_.erase(frame.base);
    return;
  }
  idle_.push_front(frame.base);
  slot.idle = idle_.begin();
  while (idle_.size() > idle_max_) {
    slots_.erase(idle_.back());
    idle_.pop_back();
  }
}

void FrameTable::UnpinAndForget(Frame& frame) {
  SlotOf(frame).forget = true;
  Unpin(frame);
}

uint64_t WriteQueue::NewTicket() {
  open_.insert(open_.end(), ++last_ticket_);
  queued_bytes_.Set(static_cast<int64_t>(bytes()));
  return last_ticket_;
}

void WriteQueue::Close(uint64_t ticket) {
  H2_ASSERT(open_.erase(ticket) == 1);
  queued_bytes_.Set(static_cast<int64_t>(bytes()));
}

void WriteQueue::Add(Frame& frame, bool complete) {
  (complete ? complete_ : partial_).emplace(frame.base, &frame);
}

void WriteQueue::Promote(Frame& frame) {
  if (partial_.erase(frame.base) == 1) complete_.emplace(frame.base, &frame);
}

std::vector<Frame*> WriteQueue::Take(size_t max, bool with_partial) {
  std::vector<Frame*> taken;
  TakeFromCursor(max, with_partial, &taken);
  if (taken.empty()) {
    Rewind();
    TakeFromCursor(max, with_partial, &taken);
  }
  return taken;
}

void WriteQueue::TakeFromCursor(size_t max, bool with_partial, std::vector<Frame*>* taken) {
  auto complete = complete_.lower_bound(cursor_);
  auto partial = with_partial ? partial_.lower_bound(cursor_) : partial_.end();
  while (taken->size() < max && (complete != complete_.end() || partial != partial_.end())) {
    const bool next_is_complete = partial == partial_.end() ||
                                  (complete != complete_.end() && complete->first < partial->first);
    Frames::iterator& next = next_is_complete ? complete : partial;
    taken->push_back(next->second);
    cursor_ = next->first + kPbufBytes;
    next = (next_is_complete ? complete_ : partial_).erase(next);
  }
}

}  // namespace h2bd
