#include "client/stream/receive_state.h"

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/digest/checksum.h"

namespace h2bd::stream {
namespace {

// magic, prelude, finishing, number of entries, entries, number of replacements, replacements, CRC.
// A string is its length as u16 and its bytes.
constexpr absl::string_view kMagic = "H2BDRCV1";

template <class Integer>
void PutInteger(std::string& out, Integer value) {
  std::array<std::byte, sizeof value> bytes;
  StoreAs(ByteSpan(bytes), value);
  absl::StrAppend(&out, AsText(bytes));
}

void PutString(std::string& out, const std::string& text) {
  H2_ASSERT(text.size() <= kPathMax);
  PutInteger(out, static_cast<uint16_t>(text.size()));
  out += text;
}

class Reader {
 public:
  explicit Reader(ConstByteSpan bytes) : left_(bytes) {}

  ConstByteSpan Take(size_t size) {
    if (size > left_.size()) {
      failed_ = true;
      return {};
    }
    const ConstByteSpan taken = left_.first(size);
    left_ = left_.subspan(size);
    return taken;
  }
  template <class Integer>
  Integer TakeInteger() {
    const ConstByteSpan bytes = Take(sizeof(Integer));
    return bytes.empty() ? Integer{0} : LoadAs<Integer>(bytes);
  }
  std::string TakeString() { return std::string(AsText(Take(TakeInteger<uint16_t>()))); }
  bool failed() const { return failed_; }
  bool at_end() const { return !failed_ && left_.empty(); }

 private:
  ConstByteSpan left_;
  bool failed_ = false;
};

absl::Status Damaged() {
  return absl::DataLossError("what the target keeps of the receiving so far is damaged");
}

}  // namespace

absl::StatusOr<std::string> EncodeState(const ReceiveState& state) {
  std::string out = absl::StrCat(kMagic, AsText(EncodePrelude(state.at)));
  PutInteger(out, static_cast<uint8_t>(state.finishing));
  PutInteger(out, static_cast<uint32_t>(state.entries.size()));
  for (const ReceiveState::Entry& entry : state.entries) {
    PutInteger(out, static_cast<uint8_t>(entry.removed));
    PutString(out, entry.path);
  }
  PutInteger(out, static_cast<uint32_t>(state.replacements.size()));
  for (const Replacement& replacement : state.replacements) {
    PutString(out, replacement.from);
    PutString(out, replacement.path);
  }
  if (out.size() + sizeof(uint32_t) > kStateBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the stream has too many disks: with ", state.entries.size(),
                     ", what is to be kept of them exceeds ", kStateBytesMax, " bytes"));
  }
  PutInteger(out, Crc32c(AsBytes(out)));
  return out;
}

absl::StatusOr<ReceiveState> DecodeState(absl::string_view bytes) {
  const ConstByteSpan all = AsBytes(bytes);
  if (all.size() < kMagic.size() + kPreludeBytes + sizeof(uint32_t) ||
      all.size() > kStateBytesMax) {
    return Damaged();
  }
  const ConstByteSpan covered = all.first(all.size() - sizeof(uint32_t));
  if (Crc32c(covered) != LoadAs<uint32_t>(all, covered.size())) return Damaged();
  Reader in(covered);
  if (AsText(in.Take(kMagic.size())) != kMagic) return Damaged();
  ReceiveState state;
  H2_ASSIGN_OR_RETURN(state.at, DecodePrelude(in.Take(kPreludeBytes)));
  state.finishing = in.TakeInteger<uint8_t>() != 0;
  for (auto left = in.TakeInteger<uint32_t>(); left > 0 && !in.failed(); --left) {
    const bool removed = in.TakeInteger<uint8_t>() != 0;
    state.entries.push_back({.path = in.TakeString(), .removed = removed});
  }
  for (auto left = in.TakeInteger<uint32_t>(); left > 0 && !in.failed(); --left) {
    std::string from = in.TakeString();
    state.replacements.push_back({.from = std::move(from), .path = in.TakeString()});
  }
  if (!in.at_end()) return Damaged();
  return state;
}

}  // namespace h2bd::stream
