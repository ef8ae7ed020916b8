// Times and durations as protobuf spells them.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "absl/time/time.h"

namespace h2bd {

// A finite duration, cut to nanoseconds; one below zero becomes zero.
void ToProto(absl::Duration duration, google::protobuf::Duration& out);
// Microseconds, as the media keeps them. What lies outside of 1970 to 9999 is damage, or not known,
// and becomes the nearest legal Timestamp.
void ToProto(absl::Time time, google::protobuf::Timestamp& out);

}  // namespace h2bd
