#include "core/freemap/freemap_load.h"

#include <span>

#include "absl/strings/str_cat.h"
#include "core/media/check_code.h"
#include "core/media/decode.h"
#include "core/media/placement.h"

namespace h2bd {
namespace {

absl::StatusOr<AlignedBuffer> LoadFreemapBlock(const Blockref& bref, Dio& dio) {
  if (bref.check_method() != CheckMethod::kFreemap ||
      FreemapCopyOf(bref.data_off, bref.key, bref.keybits) < 0) {
    return absl::DataLossError(
        absl::StrCat("freemap block ", Describe(bref),
                     ": not in one of its copies, or check method is not freemap"));
  }
  absl::StatusOr<AlignedBuffer> block = dio.ReadBlock(bref.data_off);
  if (!block.ok()) return Annotate(block.status(), Describe(bref));
  H2_RETURN_IF_ERROR(VerifyCheck(bref, block->span()));
  return block;
}

class TableLoader {
 public:
  TableLoader(uint64_t total_size, BadNode bad_node, Dio& dio, Logger& logger)
      : total_size_(total_size), bad_node_(bad_node), dio_(dio), logger_(logger) {}

  // `level`: of the table's owner; its entries must be lower, so that the way down ends.
  absl::StatusOr<FreemapNode> Load(ConstByteSpan raw, Key key, unsigned keybits, int level) {
    H2_ASSIGN_OR_RETURN(const std::vector<Blockref> brefs,
                        DecodeTable(raw, TableKind::kFreemap, key, keybits, total_size_));
    FreemapNode table;
    for (const Blockref& bref : brefs) {
      const int child_level = FreemapLevel(bref.keybits);
      if (child_level < 0 || child_level >= level || bref.key.v >= total_size_ ||
          (child_level == 0) != (bref.type == BrefType::kFreemapLeaf)) {
        return absl::DataLossError(
            absl::StrCat("freemap entry ", Describe(bref), ": wrong level for its table"));
      }
      FreemapEntry entry{bref, nullptr};
      if (child_level > 0) {
        absl::StatusOr<FreemapNode> child = LoadNode(bref, child_level);
        if (child.ok()) {
          entry.node = std::make_unique<FreemapNode>(*std::move(child));
        } else if (bad_node_ == BadNode::kFail) {
          return child.status();
        } else {
          logger_.Warning("an older header's freemap node cannot be read",
                          {{"error", std::string(child.status().message())}});
        }
      }
      table.entries.push_back(std::move(entry));
    }
    return table;
  }

 private:
  absl::StatusOr<FreemapNode> LoadNode(const Blockref& bref, int level) {
    H2_ASSIGN_OR_RETURN(const AlignedBuffer block, LoadFreemapBlock(bref, dio_));
    return Load(block.span(), bref.key, bref.keybits, level);
  }

  const uint64_t total_size_;
  const BadNode bad_node_;
  Dio& dio_;
  Logger& logger_;
};

}  // namespace

absl::StatusOr<FreemapNode> LoadFreemapTables(const std::array<Blockref, 4>& blockset,
                                              uint64_t total_size, BadNode bad_node, Dio& dio,
                                              Logger& logger) {
  constexpr unsigned kWholeKeySpace = 64;
  constexpr int kAboveAllLevels = 5;
  return TableLoader(total_size, bad_node, dio, logger)
      .Load(std::as_bytes(std::span(blockset)), Key(0), kWholeKeySpace, kAboveAllLevels);
}

absl::StatusOr<std::unique_ptr<FreemapLeafData>> LoadFreemapLeaf(const Blockref& bref, Dio& dio) {
  H2_ASSIGN_OR_RETURN(const AlignedBuffer block, LoadFreemapBlock(bref, dio));
  return DecodeFreemapLeaf(block.span());
}

}  // namespace h2bd
