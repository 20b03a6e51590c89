#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/column_table.h"

namespace enodia {

enum class Initializer : uint8_t { kNormal, kOnes, kZeros };

/// A parameter as the mathematics knows it: one global name and shape, whatever the layout. Master,
/// gradient and moments hang on it as columns. `optim`, norms, checkpoints, parity checks and
/// export see only these.
struct LogicalParameter {
  std::string name;
  std::vector<int64_t> shape;
  bool decays = true;  ///< weight decay applies
  Initializer initializer = Initializer::kNormal;
  /// The rank that counts it in norms and saves it. Dense parameters lie on all ranks, experts on
  /// their owner alone.
  int owner = 0;
  const ColumnTable* table = nullptr;
  int64_t offset = 0;  ///< first element in each column of the table

  int64_t numel() const;
  /// A view with the parameter's shape.
  at::Tensor column(std::string_view column_name) const;
};

/// One or more dense parameters that lie one after the other, so that they can be used as one
/// matrix (q, k and v as a single projection). `value` and `grad` are views, defined once the
/// registry is allocated.
struct DenseParameter {
  at::Tensor value, grad;
};

/// A member of a dense stack: its name and its rows (first dim).
struct StackMember {
  std::string name;
  int64_t rows;
};

struct DenseOptions {
  bool decays = true;
  Initializer initializer = Initializer::kNormal;
};

/// Every logical parameter that has a master on this rank, in name order. Blocks add theirs while
/// they are built; the expert store adds the rows that this rank owns.
class ParameterRegistry {
 public:
  ParameterRegistry(int rank, int world_size, at::ScalarType wide_type);

  /// Members stacked along dim 0: value has shape [sum of rows, columns] ([rows] when columns is
  /// 0). The reference stays valid; its tensors are defined by allocate().
  const DenseParameter& add_dense(const std::vector<StackMember>& members,
                                  int64_t columns,
                                  const DenseOptions& options = {});
  /// For the expert store.
  void add_owned(LogicalParameter parameter);
  /// Makes the dense table with columns `master` and `grad`, and sorts. Once, after all adds.
  void allocate();

  /// In name order. Names are unique (UsageError at allocate() otherwise).
  const std::vector<LogicalParameter>& parameters() const { return parameters_; }
  /// The parameter of that name; throws UsageError when this rank has none.
  const LogicalParameter& find(std::string_view name) const;
  int rank() const { return rank_; }
  at::ScalarType wide_type() const { return wide_type_; }
  /// Whether it lies on all ranks; the others are experts, with their owner.
  bool is_dense(const LogicalParameter& parameter) const { return parameter.table == dense_.get(); }
  /// Elements of the dense parameters added so far: where the next one will begin.
  int64_t dense_elements() const { return dense_elements_; }
  /// The flat gradients of all dense parameters in the order in which they were added, for
  /// reductions over the ranks.
  const at::Tensor& dense_gradients() const;
  /// Adds a column of zeros for the optimizer to every parameter on this rank, the experts' rows
  /// included.
  void add_column(const std::string& name);
  /// The expert store's table takes part in add_column and zero_gradients.
  void adopt(ColumnTable& table) { adopted_.push_back(&table); }
  void zero_gradients();

  /// Fills every master: each element a function of (seed, name, element index) alone. Local.
  void initialize(uint64_t seed, double standard_deviation);

 private:
  struct Stack {
    DenseParameter views;
    int64_t offset, rows, columns;
  };
  int rank_, world_size_;
  at::ScalarType wide_type_;
  int64_t dense_elements_ = 0;
  std::deque<Stack> stacks_;  // deque: references to `views` stay valid
  std::unique_ptr<ColumnTable> dense_;
  std::vector<ColumnTable*> adopted_;
  std::vector<LogicalParameter> parameters_;
};

}  // namespace enodia
