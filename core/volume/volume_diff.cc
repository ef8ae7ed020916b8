// Where disks hold data, and where they differ.
#include "absl/strings/str_format.h"
#include "core/volume/volume_impl.h"

namespace h2bd {

absl::StatusOr<std::vector<Extent>> Volume::GetExtents(const DiskRef& disk, uint64_t offset,
                                                       uint64_t length, size_t max) {
  H2_RETURN_IF_ERROR(impl_->CheckOpen());
  if (max < 1 || max > kMaxExtents) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d extents at once are not legal; legal are 1 to %d", max, kMaxExtents));
  }
  absl::StatusOr<std::vector<Extent>> extents = disk->Extents(offset, length, max);
  if (extents.ok()) return extents;
  return Annotate(extents.status(), absl::StrFormat("extents of disk inode %d of PFS %s",
                                                    disk->id().inum.v, disk->pfs().label()));
}

}  // namespace h2bd
