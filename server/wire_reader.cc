#include "server/wire_reader.h"

#include <algorithm>

namespace h2bd {
namespace {

constexpr int kMaxVarintBytes = 10;
constexpr uint32_t kMaxField = (1u << 29) - 1;

}  // namespace

bool ReceivedMessage::Take(grpc::ByteBuffer& buffer) {
  // A valid message without bytes has no slices.
  size_ = buffer.Length();
  const bool ok = !buffer.Valid() || buffer.Dump(&slices_).ok();
  buffer.Clear();
  return ok;
}

WireReader::WireReader(const ReceivedMessage& message)
    : slices_(message.slices()), left_(message.size()) {}

ConstByteSpan WireReader::NextPiece(uint64_t max) {
  max = std::min(max, left_);
  if (max == 0) return {};
  while (offset_ == slices_[slice_].size()) {
    ++slice_;
    offset_ = 0;
  }
  const grpc::Slice& slice = slices_[slice_];
  const size_t bytes = static_cast<size_t>(std::min<uint64_t>(max, slice.size() - offset_));
  const ConstByteSpan piece(reinterpret_cast<const std::byte*>(slice.begin()) + offset_, bytes);
  offset_ += bytes;
  left_ -= bytes;
  return piece;
}

bool WireReader::ReadByte(uint8_t* byte) {
  const ConstByteSpan piece = NextPiece(1);
  if (piece.empty()) return false;
  *byte = static_cast<uint8_t>(piece[0]);
  return true;
}

bool WireReader::ReadVarint(uint64_t* value) {
  *value = 0;
  for (int i = 0; i < kMaxVarintBytes; ++i) {
    uint8_t byte = 0;
    if (!ReadByte(&byte)) return false;
    if (i == kMaxVarintBytes - 1 && byte > 1) return false;  // more than 64 bits
    *value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

bool WireReader::ReadTag(uint32_t* field, uint32_t* type) {
  uint64_t tag = 0;
  if (!ReadVarint(&tag) || (tag >> 3) == 0 || (tag >> 3) > kMaxField) return false;
  *field = static_cast<uint32_t>(tag >> 3);
  *type = static_cast<uint32_t>(tag & 7);
  return true;
}

bool WireReader::ReadLength(uint64_t* length) { return ReadVarint(length) && *length <= left_; }

bool WireReader::ReadText(size_t max, std::string* text) {
  uint64_t length = 0;
  if (!ReadLength(&length) || length > max) return false;
  text->clear();
  while (text->size() < length) *text += std::string(AsText(NextPiece(length - text->size())));
  return true;
}

bool WireReader::ReadPieces(std::vector<ConstByteSpan>* pieces, uint64_t* total) {
  if (!ReadLength(total)) return false;
  pieces->clear();
  for (uint64_t left = *total; left > 0; left -= pieces->back().size()) {
    pieces->push_back(NextPiece(left));
  }
  return true;
}

bool WireReader::Skip(uint32_t type) {
  uint64_t bytes = 0;
  switch (type) {
    case kVarint:
      return ReadVarint(&bytes);
    case kFixed64:
      bytes = 8;
      break;
    case kFixed32:
      bytes = 4;
      break;
    case kBytes:
      if (!ReadLength(&bytes)) return false;
      break;
    default:
      return false;  // groups, which proto3 does not have
  }
  if (bytes > left_) return false;
  while (bytes > 0) bytes -= NextPiece(bytes).size();
  return true;
}

void WireWriter::Raw(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
  bytes_.push_back(static_cast<char>(value));
}

void WireWriter::Varint(uint32_t field, uint64_t value) {
  if (value == 0) return;
  Raw(field << 3 | WireReader::kVarint);
  Raw(value);
}

void WireWriter::Text(uint32_t field, const std::string& text) {
  if (text.empty()) return;
  PayloadHead(field, text.size());
  bytes_ += text;
}

void WireWriter::PayloadHead(uint32_t field, uint64_t length) {
  Raw(field << 3 | WireReader::kBytes);
  Raw(length);
}

grpc::ByteBuffer WireWriter::Finish(const grpc::Slice* payload) const {
  const grpc::Slice slices[] = {grpc::Slice(bytes_), payload != nullptr ? *payload : grpc::Slice()};
  return grpc::ByteBuffer(slices, payload != nullptr ? 2 : 1);
}

}  // namespace h2bd
