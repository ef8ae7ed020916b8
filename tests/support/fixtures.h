// The reference's images (H2BD_SHARED, default ../shared beside the source tree) as sparse images
// in memory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/support/memory_device.h"

namespace h2bd {

// Directory of the shared material, or nullopt: then a test says loudly what it skipped
// (SkipLoudly).
std::optional<std::string> SharedDir();

// Names of all images that the directory holds, e.g. "f01-basic-2g", ascending.
std::vector<std::string> FixtureNames();

// Expands NAME.img.zst without touching the file system.
absl::StatusOr<SparseImage> LoadFixture(const std::string& name);

// The text of manifest.json.
absl::StatusOr<std::string> FixtureManifest();

// Prints a line that cannot be overlooked to stderr. Use it with `return` at the top of a test.
void SkipLoudly(const std::string& what);

// $H2BD_SEED, or a fresh seed; prints it.
uint64_t TestSeed();

}  // namespace h2bd
