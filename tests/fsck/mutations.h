// A zoo of damage: one thing is changed in a good image, and the check codes above it are made
// right again.
#pragma once

#include <functional>
#include <ostream>
#include <vector>

#include "core/fsck/findings.h"
#include "tests/fsck/image_editor.h"

namespace h2bd {

struct Mutation {
  using Change = std::function<void(ImageEditor&)>;
  const char* name;
  const char* fixture;
  FindingCode code;  // what the checker says of it
  Change change;
};

inline void PrintTo(const Mutation& mutation, std::ostream* out) { *out << mutation.name; }

std::vector<Mutation> TableMutations();
std::vector<Mutation> InodeMutations();
std::vector<Mutation> FreemapMutations();
std::vector<Mutation> HeaderMutations();

}  // namespace h2bd
