#include "parallel/parameter_registry.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include <ATen/ops/empty_like.h>

#include "common/check.h"
#include "common/random.h"

namespace enodia {
namespace {

constexpr int64_t kAlignment = 64;  // elements: at least one 256-byte line between stacks

int64_t aligned(int64_t elements) {
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}

int64_t product(const std::vector<int64_t>& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

/// Elements of one row of the box.
int64_t row_elements(const LogicalParameter& parameter) {
  return std::accumulate(
      parameter.size.begin() + 1, parameter.size.end(), int64_t{1}, std::multiplies<>());
}

/// Element (r, c) of the box is number (offset + r) * columns + offset + c of the whole. `values`
/// are those of master_rows.
template <typename T>
void fill_normal(const LogicalParameter& p, T* values, RandomKey key, double standard_deviation) {
  const int64_t columns = p.shape.size() > 1 ? p.shape[1] : 1;
  const int64_t first_column = p.shape.size() > 1 ? p.offset[1] : 0;
  const int64_t held_columns = p.shape.size() > 1 ? p.size[1] : 1;
  for (int64_t row = p.master_rows.first; row < p.master_rows.end(); ++row) {
    const int64_t first = (p.offset[0] + row) * columns + first_column;
    for (int64_t column = 0; column < held_columns; ++column) {
      *values++ = static_cast<T>(standard_deviation *
                                 random_normal(key, static_cast<uint64_t>(first + column)));
    }
  }
}

void initialize_master(const LogicalParameter& parameter, RandomKey key, double deviation) {
  at::Tensor master = parameter.rows("master", parameter.master_rows);
  if (parameter.initializer != Initializer::kNormal) {
    master.fill_(parameter.initializer == Initializer::kOnes ? 1.0 : 0.0);
    return;
  }
  const at::Tensor values = master.is_cpu() ? master : at::empty_like(master, at::kCPU);
  if (values.scalar_type() == at::kDouble) {
    fill_normal(parameter, values.data_ptr<double>(), key.with(parameter.name), deviation);
  } else {
    fill_normal(parameter, values.data_ptr<float>(), key.with(parameter.name), deviation);
  }
  if (!master.is_cpu()) {
    master.copy_(values);
  }
}

}  // namespace

int64_t LogicalParameter::numel() const {
  return product(size);
}

at::Tensor LogicalParameter::rows(std::string_view column_name, const Slice& rows) const {
  const int64_t row = row_elements(*this);
  std::vector<int64_t> view_shape = size;
  view_shape[0] = rows.count;
  return table->view(column_name, {first + rows.first * row, rows.count * row}).view(view_shape);
}

ParameterRegistry::ParameterRegistry(const RankPlace& place,
                                     Precision precision,
                                     c10::Device device)
    : place_(place),
      precision_(precision),
      device_(device) {
  for (size_t i = 0; i < kNumTables; ++i) {
    const bool wide = i >= kAllHolders.size();
    tables_[i].holders = kAllHolders[i % kAllHolders.size()];
    tables_[i].weights = wide ? "master" : precision.weights();
  }
}

size_t ParameterRegistry::table_of(const DenseOptions& options) const {
  const auto holders = static_cast<size_t>(place_.canonical_of(options.holders));
  return precision_.is_mixed() && options.wide ? holders + kAllHolders.size() : holders;
}

const DenseParameter& ParameterRegistry::add_dense(const std::vector<StackMember>& members,
                                                   int64_t columns,
                                                   const DenseOptions& options) {
  ENODIA_CHECK(!allocated_, "dense parameters are added before allocate()");
  const size_t table = table_of(options);
  Extent& extent = extents_[table];
  const Slice held_columns = options.held_columns.value_or(Slice{0, columns});
  const bool is_matrix = columns > 0;
  Stack& stack =
      stacks_.emplace_back(Stack{{}, table, extent.held, 0, held_columns.count, is_matrix});
  for (const StackMember& member : members) {
    LogicalParameter parameter;
    parameter.name = member.name;
    parameter.shape = {member.rows};
    parameter.offset = {member.held.first};
    parameter.size = {member.held.count};
    if (is_matrix) {
      parameter.shape.push_back(columns);
      parameter.offset.push_back(held_columns.first);
      parameter.size.push_back(held_columns.count);
    }
    parameter.decays = options.decays;
    parameter.trained = options.trained;
    parameter.initializer = options.initializer;
    parameter.first = extent.held;
    extent.held += parameter.numel();
    extent.global += product(parameter.shape);
    stack.rows += member.held.count;
    parameters_.push_back(std::move(parameter));
    tables_of_.push_back(table);
  }
  extent.held = aligned(extent.held);
  return stack.views;
}

void ParameterRegistry::begin_block() {
  block_begins_.push_back(extents_);
}

void ParameterRegistry::add_owned(LogicalParameter parameter) {
  ENODIA_CHECK(!allocated_, "experts are added before allocate()");
  parameters_.push_back(std::move(parameter));
  tables_of_.push_back(0);  // of no meaning: its table is set
}

void ParameterRegistry::allocate(const DenseSharding& sharding) {
  sharding_ = sharding;
  allocated_ = true;
  for (size_t i = 0; i < kNumTables; ++i) {
    allocate_table(i);
  }
  for (Stack& stack : stacks_) {
    const std::vector<int64_t> shape = stack.is_matrix
                                           ? std::vector<int64_t>{stack.rows, stack.columns}
                                           : std::vector<int64_t>{stack.rows};
    const DenseTable& table = tables_[stack.table];
    const auto view = [&](std::string_view column) {
      return table.columns->view(column, {stack.first, product(shape)}).view(shape);
    };
    stack.views.value = view(table.weights);
    stack.views.grad = view("grad");
  }
  tables_of_.clear();
  sort_parameters();
}

void ParameterRegistry::sort_parameters() {
  std::sort(parameters_.begin(), parameters_.end(), [](const auto& a, const auto& b) {
    return a.name < b.name;
  });
  const auto twin =
      std::adjacent_find(parameters_.begin(), parameters_.end(), [](const auto& a, const auto& b) {
        return a.name == b.name;
      });
  ENODIA_CHECK(twin == parameters_.end(), "two parameters are named '", twin->name, "'");
}

void ParameterRegistry::replace_owned(const ColumnTable& table,
                                      std::vector<LogicalParameter> parameters) {
  ENODIA_CHECK(allocated_, "experts move after allocate()");
  std::erase_if(parameters_, [&](const LogicalParameter& p) { return p.table == &table; });
  std::move(parameters.begin(), parameters.end(), std::back_inserter(parameters_));
  sort_parameters();
}

void ParameterRegistry::allocate_table(size_t index) {
  DenseTable& table = tables_[index];
  table.columns = std::make_unique<ColumnTable>(extents_[index].held, device_);
  const bool computes_with_masters = table.weights == "master";
  const auto add_masters = [&] {
    table.columns->add_column("master", MemoryKind::kParameters, precision_.wide);
  };
  table.columns->add_column("grad", MemoryKind::kGradients, precision_.wide);
  if (computes_with_masters) {
    add_masters();
  } else {
    table.columns->add_column("compute", MemoryKind::kParameters, precision_.compute);
  }
  table.buckets = make_buckets(index);
  assign_owners(index);
  if (!computes_with_masters) {
    add_masters();  // of what is kept alone
  }
}

/// From the last block to the first: a bucket is closed at the beginning of the block with which it
/// reaches its size. Sizes are those of the whole model, so that all ranks make equally many.
std::vector<GradientBucket> ParameterRegistry::make_buckets(size_t index) const {
  const auto extent_at = [&](size_t block) {
    return block < block_begins_.size() ? block_begins_[block][index] : extents_[index];
  };
  const auto element_bytes = static_cast<int64_t>(at::elementSize(precision_.wide));
  const int64_t smallest = sharding_.bucket_bytes / element_bytes;
  std::vector<GradientBucket> buckets;
  Extent end = extent_at(block_begins_.size());
  for (size_t block = block_begins_.size(); block-- > 0;) {
    const Extent begin = block > 0 ? extent_at(block) : Extent();
    const int64_t size = end.global - begin.global;
    if (size > 0 && (size >= smallest || block == 0)) {
      buckets.push_back({{begin.held, end.held - begin.held}, static_cast<int>(block), {}});
      end = begin;
    }
  }
  return buckets;
}

void ParameterRegistry::assign_owners(size_t index) {
  DenseTable& table = tables_[index];
  const HolderGroup& group = place_.group(table.holders);
  std::vector<LogicalParameter*> members;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].table == nullptr && tables_of_[i] == index) {
      members.push_back(&parameters_[i]);
    }
  }
  std::vector<Slice> kept;
  for (GradientBucket& bucket : table.buckets) {
    std::vector<FlatParameter> flat;
    for (const LogicalParameter* p : members) {
      if (p->first >= bucket.elements.first && p->first < bucket.elements.end()) {
        flat.push_back({{p->first, p->numel()}, std::max<int64_t>(1, row_elements(*p))});
      }
    }
    bucket.counts = cut_bucket(bucket.elements, flat, group.size, sharding_.zero1 != Zero1::kRows);
    const auto begin = std::accumulate(
        bucket.counts.begin(), bucket.counts.begin() + group.index, bucket.elements.first);
    kept.push_back({begin, bucket.counts[group.index]});
  }
  std::sort(
      kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (LogicalParameter* p : members) {
    p->table = table.columns.get();
    for (const Slice& mine : kept) {
      const int64_t begin = std::max(mine.first, p->first);
      const int64_t end = std::min(mine.end(), p->first + p->numel());
      if (begin < end) {
        p->owned_rows = {(begin - p->first) / row_elements(*p), (end - begin) / row_elements(*p)};
      }
    }
    p->updated_rows = sharding_.zero1 == Zero1::kOff ? p->all_rows() : p->owned_rows;
    p->master_rows = table.weights == "master" ? p->all_rows() : p->updated_rows;
  }
  if (sharding_.zero1 != Zero1::kOff) {
    table.columns->keep_only(std::move(kept));
  }
}

const LogicalParameter& ParameterRegistry::find(std::string_view name) const {
  const auto found = std::lower_bound(
      parameters_.begin(), parameters_.end(), name, [](const auto& a, std::string_view b) {
        return a.name < b;
      });
  ENODIA_CHECK(found != parameters_.end() && found->name == name,
               "no parameter '",
               name,
               "' on rank ",
               rank());
  return *found;
}

bool ParameterRegistry::is_dense(const LogicalParameter& parameter) const {
  return std::any_of(tables_.begin(), tables_.end(), [&](const DenseTable& table) {
    return table.columns.get() == parameter.table;
  });
}

void ParameterRegistry::add_column(const std::string& name) {
  ENODIA_CHECK(allocated_, "columns are added after allocate()");
  for (DenseTable& table : tables_) {
    table.columns->add_column(name, MemoryKind::kOptimizer, precision_.wide);
  }
  for (ColumnTable* table : adopted_) {
    table->add_column(name, MemoryKind::kOptimizer, precision_.wide);
  }
}

void ParameterRegistry::write_compute() {
  if (!precision_.is_mixed()) {
    return;
  }
  for (const LogicalParameter& parameter : parameters_) {
    if (parameter.table->has_column("compute")) {
      parameter.rows("compute", parameter.master_rows)
          .copy_(parameter.rows("master", parameter.master_rows));
    }
  }
}

void ParameterRegistry::zero_gradients() {
  for (const DenseTable& table : tables_) {
    at::Tensor(table.columns->column("grad")).zero_();
  }
  for (ColumnTable* table : adopted_) {
    at::Tensor(table->column("grad")).zero_();
  }
}

void ParameterRegistry::initialize(uint64_t seed, double standard_deviation) {
  const RandomKey key = RandomKey(seed).with("init");
  for (const LogicalParameter& parameter : parameters_) {
    initialize_master(parameter, key, standard_deviation);
  }
}

}  // namespace enodia
