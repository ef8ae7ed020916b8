// Memory that ends at a page nobody may touch. The compression libraries are not built with
// sanitizers: a read or write past the end must fault by itself to be seen.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include "core/base/bytes.h"
#include "core/base/status.h"
#include "core/base/types.h"

namespace h2bd {

class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t capacity)
      : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))), capacity_(RoundUp(capacity, page_)) {
    void* at = mmap(nullptr, capacity_ + page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                    -1, 0);
    H2_ASSERT(at != MAP_FAILED);
    base_ = static_cast<std::byte*>(at);
    H2_ASSERT(mprotect(base_ + capacity_, page_, PROT_NONE) == 0);
  }
  ~GuardedBuffer() { munmap(base_, capacity_ + page_); }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  // The last `size` bytes before the guard.
  ByteSpan Last(size_t size) const {
    H2_ASSERT(size <= capacity_);
    return {base_ + (capacity_ - size), size};
  }

 private:
  const size_t page_;
  const size_t capacity_;
  std::byte* base_ = nullptr;
};

}  // namespace h2bd
