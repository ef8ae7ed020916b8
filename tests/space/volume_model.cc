#include "tests/space/volume_model.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/volume/test_volume.h"

namespace h2bd {
namespace {

absl::Status CompareDisk(Volume& volume, const DiskName& name, const ModelDisk& model) {
  H2_ASSIGN_OR_RETURN(const DiskRef disk, volume.OpenDisk(name));
  if (disk->size_bytes() != model.size()) {
    return absl::DataLossError(
        absl::StrFormat("its size is %d, not %d", disk->size_bytes(), model.size()));
  }
  H2_ASSIGN_OR_RETURN(const std::string content, ReadAll(volume, disk));
  for (uint64_t at = 0; at < content.size(); at += kLogicalBytes) {
    if (!model.Holds(at,
                     AsBytes(content).subspan(at, std::min(kLogicalBytes, content.size() - at)))) {
      return absl::DataLossError(absl::StrFormat("the block at %#x has other bytes", at));
    }
  }
  return absl::OkStatus();
}

absl::Status ComparePfs(Volume& volume, const std::string& label, const PfsModel& model) {
  H2_ASSIGN_OR_RETURN(const DiskList list, volume.ListDisks(label, 1000, ""));
  for (const DiskInfo& info : list.disks) {
    if (!model.contains(info.name.path)) {
      return absl::DataLossError(absl::StrCat(info.name.ToString(), " should not be there"));
    }
  }
  for (const auto& [name, disk] : model) {
    const DiskName full{label, name};
    H2_RETURN_IF_ERROR(Annotate(CompareDisk(volume, full, disk), full.ToString()));
  }
  return absl::OkStatus();
}

}  // namespace

size_t VolumeModel::disks() const {
  size_t count = 0;
  for (const auto& [label, pfs] : pfses) count += pfs.size();
  return count;
}

absl::Status CompareWithModel(Volume& volume, const VolumeModel& model) {
  size_t known = 0;
  for (const PfsInfo& pfs : volume.ListPfs()) {
    if (pfs.label == "LOCAL") continue;
    if (!model.pfses.contains(pfs.label)) {
      return absl::DataLossError(absl::StrCat("PFS ", pfs.label, " should not be there"));
    }
    ++known;
  }
  if (known != model.pfses.size()) {
    return absl::DataLossError(
        absl::StrFormat("%d PFSs are there, not %d", known, model.pfses.size()));
  }
  for (const auto& [label, pfs] : model.pfses) {
    H2_RETURN_IF_ERROR(ComparePfs(volume, label, pfs));
  }
  return absl::OkStatus();
}

}  // namespace h2bd
