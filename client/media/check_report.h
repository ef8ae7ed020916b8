// How a check is shown.
#pragma once

#include <iosfwd>
#include <string>

#include "client/media/report.h"
#include "core/fsck/check.h"

namespace h2bd {

MediaJson ToJson(const CheckReport& report);
void Print(const CheckReport& report, std::ostream& out);

// One line that redraws itself, on a terminal only.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  void Draw(const CheckProgress& progress);

 private:
  static void Write(const std::string& text);
  const bool wanted_;
  bool drawn_ = false;
  uint64_t last_bytes_ = 0;
};

}  // namespace h2bd
