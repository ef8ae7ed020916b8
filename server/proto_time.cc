#include "server/proto_time.h"

#include <algorithm>

namespace h2bd {

void ToProto(absl::Duration duration, google::protobuf::Duration& out) {
  duration = std::max(duration, absl::ZeroDuration());
  out.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
}

void ToProto(absl::Time time, google::protobuf::Timestamp& out) {
  const int64_t micros = std::max<int64_t>(0, absl::ToUnixMicros(time));
  constexpr int64_t kLastSecond = 253402300799;  // 9999-12-31T23:59:59Z, the last legal one
  out.set_seconds(std::min(micros / 1'000'000, kLastSecond));
  out.set_nanos(static_cast<int32_t>(micros % 1'000'000 * 1000));
}

}  // namespace h2bd
