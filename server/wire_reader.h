// Reads protobuf's wire format from the slices of a message as they came from the socket: the
// fields are decoded, the payload is only pointed at.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/bytes.h"

namespace h2bd {

// A received message. Payload pieces point into it, so it stays where it is until they are used.
class ReceivedMessage {
 public:
  ReceivedMessage() = default;
  // Takes the content of `buffer`, which is empty afterwards. False when gRPC cannot give it out.
  bool Take(grpc::ByteBuffer& buffer);
  const std::vector<grpc::Slice>& slices() const { return slices_; }
  size_t size() const { return size_; }

 private:
  std::vector<grpc::Slice> slices_;
  size_t size_ = 0;
};

// Each read returns false when the message ends too early or is not legal; then nothing more can be
// read.
class WireReader {
 public:
  enum Type : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  explicit WireReader(const ReceivedMessage& message);

  bool AtEnd() const { return left_ == 0; }
  bool ReadTag(uint32_t* field, uint32_t* type);
  bool ReadVarint(uint64_t* value);
  // A field of type kBytes as text of at most `max` bytes.
  bool ReadText(size_t max, std::string* text);
  // A field of type kBytes as pieces of the message.
  bool ReadPieces(std::vector<ConstByteSpan>* pieces, uint64_t* total);
  // Goes over the value of a field that is not known.
  bool Skip(uint32_t type);

 private:
  bool ReadByte(uint8_t* byte);
  bool ReadLength(uint64_t* length);
  // The next part of at most `max` bytes that lies in one slice; not empty unless `max` or what is
  // left is 0.
  ConstByteSpan NextPiece(uint64_t max);

  const std::vector<grpc::Slice>& slices_;
  size_t slice_ = 0;   // current
  size_t offset_ = 0;  // in it
  uint64_t left_ = 0;  // of the message
};

// Writes the few fields that stand before a payload.
class WireWriter {
 public:
  void Varint(uint32_t field, uint64_t value);  // left out when 0, as proto3 does
  void Text(uint32_t field, const std::string& text);
  // The tag and the length of a payload; its bytes follow in a slice of their own.
  void PayloadHead(uint32_t field, uint64_t length);
  // What was written, and `payload` after it.
  grpc::ByteBuffer Finish(const grpc::Slice* payload) const;

 private:
  void Raw(uint64_t value);
  std::string bytes_;
};

}  // namespace h2bd
