#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace enodia {

/// Reads what somebody claims to have saved; what does not fit makes it fail, once and for all.
class SavedNumbers {
 public:
  explicit SavedNumbers(std::span<const int64_t> numbers) : numbers_(numbers) {}
  /// The next number; `least`, and failed, when there is none or it is not in [least, most].
  int64_t next(int64_t least, int64_t most) {
    require(next_ < numbers_.size() && numbers_[next_] >= least && numbers_[next_] <= most);
    return failed_ ? least : numbers_[next_++];
  }
  void require(bool holds) { failed_ = failed_ || !holds; }
  bool failed() const { return failed_; }
  /// Whether all of it was read, and all was right.
  bool complete() const { return !failed_ && next_ == numbers_.size(); }

 private:
  std::span<const int64_t> numbers_;
  size_t next_ = 0;
  bool failed_ = false;
};

}  // namespace enodia
