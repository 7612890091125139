#include "reserved_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14; older headers lack it
#endif

namespace tandem {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

void* map(size_t bytes, int flags) {
  void* start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return start == MAP_FAILED ? nullptr : start;
}

// Aligned to a huge page, so that the kernel can use them: maps more and gives the ends back.
void* map_aligned(size_t bytes) {
  auto* start = static_cast<uint8_t*>(map(bytes + kHugePage, 0));
  if (start == nullptr) return nullptr;
  const size_t before = rounded(reinterpret_cast<uintptr_t>(start), kHugePage) - reinterpret_cast<uintptr_t>(start);
  if (before > 0) munmap(start, before);
  munmap(start + before + bytes, kHugePage - before);
  return start + before;
}

// Asks the kernel for the pages, so that too little memory is an error here and not a signal later.
bool touch(void* start, size_t bytes) {
  if (madvise(start, bytes, MADV_POPULATE_WRITE) == 0) return true;
  if (errno != EINVAL) return false;
  for (size_t i = 0; i < bytes; i += kPage) static_cast<volatile uint8_t*>(start)[i] = 0;
  return true;
}

}  // namespace

bool ReservedMemory::reserve(size_t bytes, Touch when) {
  if (when == Touch::kOnUse) {
    bytes_ = rounded(bytes, kPage);
    start_ = map(bytes_, MAP_NORESERVE);
    if (start_ != nullptr) madvise(start_, bytes_, MADV_NOHUGEPAGE);
    return start_ != nullptr;
  }
  // A small table would waste most of a huge page.
  const bool huge = bytes >= kHugePage;
  bytes_ = rounded(bytes, kHugePage);
  if (huge) start_ = map(bytes_, MAP_HUGETLB | MAP_POPULATE);
  if (start_ != nullptr) return true;
  bytes_ = rounded(bytes, kPage);
  start_ = huge ? map_aligned(bytes_) : map(bytes_, 0);
  if (start_ == nullptr) return false;
  if (huge) madvise(start_, bytes_, MADV_HUGEPAGE);
  return touch(start_, bytes_);
}

ReservedMemory::~ReservedMemory() {
  if (start_ != nullptr) munmap(start_, bytes_);
}

}  // namespace tandem
