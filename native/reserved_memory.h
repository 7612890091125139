// Memory that is reserved once and lives as long as the table it is for: anonymous, zeroed, page aligned.
#pragma once

#include <cstddef>

namespace tandem {

class ReservedMemory {
 public:
  enum class Touch {
    kNow,    // every page is there before reserve() returns: huge pages when there are any
    kOnUse,  // address space only; pages of the ordinary size come as they are used
  };

  ReservedMemory() = default;
  ReservedMemory(const ReservedMemory&) = delete;
  ReservedMemory& operator=(const ReservedMemory&) = delete;
  ~ReservedMemory();

  // Once. False: the memory is not to be had; errno says why.
  bool reserve(size_t bytes, Touch touch);

  template <typename T>
  T* as() const {
    return static_cast<T*>(start_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* start_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace tandem
