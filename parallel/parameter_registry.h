#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/column_table.h"
#include "parallel/dense_sharding.h"
#include "parallel/mesh.h"
#include "parallel/precision.h"
#include "parallel/slice.h"

namespace enodia {

enum class Initializer : uint8_t { kNormal, kOnes, kZeros };

/// A parameter as the mathematics knows it: one global name and shape, whatever the layout. Master,
/// gradient and moments hang on it as columns. `optim`, norms, checkpoints, parity checks and
/// export see only these.
struct LogicalParameter {
  std::string name;
  std::vector<int64_t> shape;         ///< global
  std::vector<int64_t> offset, size;  ///< the box of it that this rank holds; may be empty
  bool decays = true;                 ///< weight decay applies
  bool trained = true;                ///< by its gradient; else it changes in commit_step alone
  Initializer initializer = Initializer::kNormal;
  /// Rows (first dim) of the box that this rank, of all that hold them, counts in norms and saves.
  Slice owned_rows;
  /// Rows of the box whose moments this rank keeps and whose masters it updates: all of them, or
  /// under ZeRO-1 those it owns.
  Slice updated_rows;
  /// Rows of the box whose masters this rank has: all of them where it computes with masters, else
  /// those it updates.
  Slice master_rows;
  const ColumnTable* table = nullptr;
  int64_t first = 0;  ///< element in the table

  int64_t numel() const;  ///< of the box
  /// A view of the box, of a column that holds all of it (master, grad).
  at::Tensor column(std::string_view column_name) const { return rows(column_name, all_rows()); }
  /// A view of some rows of the box.
  at::Tensor rows(std::string_view column_name, const Slice& rows) const;
  Slice all_rows() const { return {0, size.at(0)}; }
};

/// One or more dense parameters that lie one after the other, so that they can be used as one
/// matrix (q, k and v as a single projection). `value` (what is computed with) and `grad` are views
/// of what this rank holds, defined once the registry is allocated.
struct DenseParameter {
  at::Tensor value, grad;
};

/// A member of a dense stack: its name, its rows (first dim), and which of them this rank holds.
struct StackMember {
  StackMember(std::string member_name, int64_t all_rows)
      : StackMember(std::move(member_name), all_rows, {0, all_rows}) {}
  StackMember(std::string member_name, int64_t all_rows, Slice held_rows)
      : name(std::move(member_name)),
        rows(all_rows),
        held(held_rows) {}
  std::string name;
  int64_t rows;
  Slice held;
};

struct DenseOptions {
  bool decays = true;
  bool trained = true;
  Initializer initializer = Initializer::kNormal;
  Holders holders = Holders::kWorld;
  bool wide = false;  ///< computed with in the wide type: `value` is the master
  std::optional<Slice> held_columns = std::nullopt;  ///< of the columns; all by default
};

/// Dense parameters that the same ranks hold, in the order in which they were added. In mixed
/// precision those that are computed with in the wide type have tables of their own.
struct DenseTable {
  Holders holders = Holders::kWorld;
  std::string_view weights = "master";  ///< the column that is computed with
  std::unique_ptr<ColumnTable> columns;
  std::vector<GradientBucket> buckets;  ///< from the end of the table to its beginning
};

/// Every logical parameter that has a master on this rank, in name order. Blocks add theirs while
/// they are built; the expert store adds the rows that this rank owns.
class ParameterRegistry {
 public:
  /// Memory of parameters is on `device`.
  ParameterRegistry(const RankPlace& place,
                    Precision precision,
                    c10::Device device = c10::Device(c10::DeviceType::CPU));
  ParameterRegistry(int rank, int world_size, Precision precision)
      : ParameterRegistry(RankPlace::uncut(rank, world_size), precision) {}

  /// Members stacked along dim 0: value has shape [sum of held rows, held columns] ([rows] when
  /// columns is 0). The reference stays valid; its tensors are defined by allocate(). Every rank
  /// adds the same with the same `options.holders`, which all hold the same slices.
  const DenseParameter& add_dense(const std::vector<StackMember>& members,
                                  int64_t columns,
                                  const DenseOptions& options = {});
  /// What is added from now on belongs to the next block of the decoder, 0 at first.
  void begin_block();
  /// Where the compute type is not the master's: rounds the masters that this rank has to what is
  /// computed with, the experts' included. Local.
  void write_compute();
  /// For the expert store.
  void add_owned(LogicalParameter parameter);
  /// The rows of an adopted table belong to other experts now: these take the place of all that lie
  /// in it. References to parameters end. After allocate(). Local.
  void replace_owned(const ColumnTable& table, std::vector<LogicalParameter> parameters);
  /// Makes the dense tables with columns `master` and `grad`, and sorts. Once, after all adds.
  void allocate(const DenseSharding& sharding = {});

  /// In name order. Names are unique (UsageError at allocate() otherwise).
  const std::vector<LogicalParameter>& parameters() const { return parameters_; }
  /// The parameter of that name; throws UsageError when this rank has none.
  const LogicalParameter& find(std::string_view name) const;
  const RankPlace& place() const { return place_; }
  int rank() const { return place_.rank; }
  const Precision& precision() const { return precision_; }
  /// Whether it is dense; the others are experts, with their owner.
  bool is_dense(const LogicalParameter& parameter) const;
  /// Some may be empty. On all ranks the same, with equally many buckets.
  std::span<const DenseTable> dense_tables() const { return tables_; }
  const DenseSharding& sharding() const { return sharding_; }
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
    size_t table;
    int64_t first, rows, columns;
    bool is_matrix;
  };
  /// Dense parameters of a table added so far: elements here, and of the whole model.
  struct Extent {
    int64_t held = 0, global = 0;
  };
  static constexpr size_t kNumTables = 2 * kAllHolders.size();
  using Extents = std::array<Extent, kNumTables>;

  size_t table_of(const DenseOptions& options) const;
  void sort_parameters();
  void allocate_table(size_t index);
  std::vector<GradientBucket> make_buckets(size_t index) const;
  void assign_owners(size_t index);

  RankPlace place_;
  Precision precision_;
  c10::Device device_;
  DenseSharding sharding_;
  Extents extents_;
  std::vector<Extents> block_begins_{Extents()};
  std::deque<Stack> stacks_;  // deque: references to `views` stay valid
  std::array<DenseTable, kNumTables> tables_;
  bool allocated_ = false;
  std::vector<ColumnTable*> adopted_;
  std::vector<LogicalParameter> parameters_;
  std::vector<size_t> tables_of_;  // [parameters_] until they are sorted
};

}  // namespace enodia
