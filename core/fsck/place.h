// Where in the trees the checker stands. A chain of stack objects that becomes text only when there
// is something to report.
#pragma once

#include <string>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "core/media/blockref.h"

namespace h2bd {

// Lives no longer than what `above`, `label` and `bref` refer to.
class Place {
 public:
  explicit Place(absl::string_view label) : label_(label) {}
  Place(const Place& above, absl::string_view label) : above_(&above), label_(label) {}
  Place(const Place& above, const Blockref& bref) : above_(&above), bref_(&bref) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  // "DATA: inode 0x403/0: indirect 0x0/23: data 0x10000/16"
  std::string ToString() const {
    std::string text = above_ != nullptr ? above_->ToString() + ": " : "";
    if (bref_ == nullptr) return text + std::string(label_);
    return text + absl::StrFormat("%s 0x%x/%d", Name(bref_->type), bref_->key.v, bref_->keybits);
  }

 private:
  const Place* above_ = nullptr;
  absl::string_view label_;
  const Blockref* bref_ = nullptr;
};

}  // namespace h2bd
