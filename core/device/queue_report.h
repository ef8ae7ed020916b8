// What sysfs says of a block device: its write cache, and what lies below a stacked device, since a
// flush must pass all of it (spec 04 F-227). Private to core/device.
#pragma once

#include <string>
#include <vector>

#include "core/base/log.h"

namespace h2bd {

struct QueueReport {
  std::string name;                     // "dm-0", "sda"; of a partition that of its disk
  std::string kind = "plain";           // or "dm", "md", "loop"
  std::string write_cache = "unknown";  // or "write back", "write through"
  std::string fua = "unknown";          // or "yes", "no"
  std::string backing_file;             // of a loop device
  std::vector<QueueReport> below;       // of a dm or md device

  // "dm-0 (dm, write back) over sda (plain, write back), sdb (plain, write through)".
  std::string ToString() const;
};

// `sysfs` is "/sys" but in tests. What cannot be read stays unknown.
QueueReport ReadQueueReport(const std::string& sysfs, unsigned major, unsigned minor);

// One line for each reason to doubt that a barrier reaches every disk below.
std::vector<std::string> DoubtsOf(const QueueReport& report);
void WarnOfDoubts(const std::string& path, const QueueReport& report, Logger& logger);

}  // namespace h2bd
