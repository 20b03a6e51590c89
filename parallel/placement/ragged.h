#pragma once

#include <cstddef>
#include <initializer_list>
#include <span>
#include <vector>

namespace enodia {

/// Rows of different lengths, one behind the other in memory. Filled row by row: the last can grow.
template <typename T>
class Ragged {
 public:
  Ragged() = default;
  /// Of empty rows.
  explicit Ragged(size_t rows) : ends_(rows, 0) {}
  explicit Ragged(std::span<const std::vector<T>> rows) {
    for (const std::vector<T>& row : rows) {
      add_row(row);
    }
  }
  Ragged(std::initializer_list<std::vector<T>> rows)
      : Ragged(std::span(rows.begin(), rows.size())) {}

  size_t size() const { return ends_.size(); }
  std::span<const T> operator[](size_t row) const {
    return {values_.data() + begin(row), end(row)};
  }
  std::span<T> operator[](size_t row) { return {values_.data() + begin(row), end(row)}; }
  /// Of all rows.
  std::span<const T> values() const { return values_; }
  std::vector<std::vector<T>> rows() const {
    std::vector<std::vector<T>> rows;
    for (size_t row = 0; row < size(); ++row) {
      rows.emplace_back((*this)[row].begin(), (*this)[row].end());
    }
    return rows;
  }
  bool operator==(const Ragged&) const = default;

  /// Leaves empty rows, in the same memory.
  void clear(size_t rows = 0) {
    ends_.assign(rows, 0);
    values_.clear();
  }
  void add_row() { ends_.push_back(values_.size()); }
  void add_row(std::span<const T> row) {
    values_.insert(values_.end(), row.begin(), row.end());
    ends_.push_back(values_.size());
  }
  /// To the last row.
  void add(T value) {
    values_.push_back(value);
    ++ends_.back();
  }

 private:
  size_t begin(size_t row) const { return row > 0 ? ends_[row - 1] : 0; }
  T* end(size_t row) { return values_.data() + ends_[row]; }
  const T* end(size_t row) const { return values_.data() + ends_[row]; }

  std::vector<size_t> ends_;
  std::vector<T> values_;
};

}  // namespace enodia
