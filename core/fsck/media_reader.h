// Reads what is on a volume without any part of the engine: PFSs, directories, inodes, file
// contents.
//
// Read-only and stateless but for a small cache of device buffers; one reader serves one thread,
// and the VolumeSet that it was opened on outlives it and must not be written meanwhile. Everything
// that comes from the media passes core/media/decode.h; damage gives kDataLoss and a message that
// names the place, and leaves the reader usable for everything else. Memory: one table per level of
// the tree, one directory when it is listed, one logical block of file contents.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "core/fsck/media_source.h"
#include "core/media/inode_data.h"

namespace h2bd {

// A PFS as the super-root lists it. Snapshots are PFSs with pfs_subtype 1.
struct MediaPfs {
  std::string name;
  Blockref bref;
  InodeData root;
};

struct MediaEntry {
  std::string name;  // raw bytes
  Inum inum;
  ObjectType type{};  // as the directory entry says
  Key key;
  // The inode itself, where it is the entry (the legacy form of spec 01 section 8.5).
  std::optional<Blockref> legacy_inode;
};

class MediaReader {
 public:
  // Reads through the header that `set` chose, or through the one in `slot` of the root volume.
  // kNotFound when that slot holds no valid header.
  static absl::StatusOr<MediaReader> Open(VolumeSet& set, std::optional<int> slot = std::nullopt);
  // Reads through a header that passed CheckVolumeHeader.
  MediaReader(MediaSource source, const VolumeData& header);

  const VolumeData& header() const { return *header_; }

  // All PFSs, by key (the order of their name hashes).
  absl::StatusOr<std::vector<MediaPfs>> ListPfs();
  absl::StatusOr<MediaPfs> FindPfs(absl::string_view name);  // kNotFound

  // The inode numbered `inum`; 1 is the root. kNotFound when the index does not hold it.
  absl::StatusOr<InodeData> ReadInode(const MediaPfs& pfs, Inum inum);
  // The inode that an entry names. kNotFound for an entry without an inode.
  absl::StatusOr<InodeData> ReadEntryInode(const MediaPfs& pfs, const MediaEntry& entry);
  // The inode at `path` ("", "/", "a/b", "/a/b"); softlinks are not followed. kNotFound, or
  // kInvalidArgument for a component that is not a directory.
  absl::StatusOr<InodeData> Lookup(const MediaPfs& pfs, absl::string_view path);

  // Entries in key order. The visitor returns whether to go on. kInvalidArgument when `dir` is no
  // directory.
  absl::Status ForEachEntry(const InodeData& dir,
                            absl::FunctionRef<absl::StatusOr<bool>(const MediaEntry&)> visitor);
  absl::StatusOr<std::vector<MediaEntry>> ListDirectory(const InodeData& dir);
  // Every indexed inode of the PFS (not its root), by number.
  absl::Status ForEachInode(const MediaPfs& pfs,
                            absl::FunctionRef<absl::StatusOr<bool>(const InodeData&)> visitor);

  // The stored contents of a file or softlink, ascending, without holes: (offset, bytes), each at
  // most 64 KiB and clipped to the size. What is not visited reads as zeros, so a sparse file costs
  // what it stores. kInvalidArgument for other types.
  absl::Status ForEachBlock(const InodeData& file,
                            absl::FunctionRef<absl::Status(uint64_t, ConstByteSpan)> visitor);
  // [off, off + into.size()) with holes as zeros; short at the end of the file. Returns the bytes
  // read.
  absl::StatusOr<uint64_t> Read(const InodeData& file, uint64_t off, ByteSpan into);
  absl::StatusOr<std::string> ReadLink(const InodeData& link);

 private:
  absl::StatusOr<InodeData> LoadInode(const Blockref& bref, bool indexed);
  absl::StatusOr<InodeData> SuperRoot();
  absl::StatusOr<MediaEntry> DecodeEntry(const Blockref& bref);
  absl::StatusOr<MediaEntry> FindEntry(const InodeData& dir, absl::string_view name);
  absl::Status WalkBlocks(const InodeData& file, uint64_t first, uint64_t last,
                          absl::FunctionRef<absl::Status(uint64_t, ConstByteSpan)> visitor);

  MediaSource source_;
  std::unique_ptr<VolumeData> header_;
};

// A softlink's target is a path: longer ones are refused as damage.
inline constexpr uint64_t kLinkTargetMax = 65536;

}  // namespace h2bd
