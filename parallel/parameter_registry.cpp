#include "parallel/parameter_registry.h"

#include <algorithm>
#include <numeric>

#include "common/check.h"
#include "common/random.h"

namespace enodia {
namespace {

constexpr int64_t kAlignment = 64;  // elements: at least one 256-byte line between stacks

int64_t aligned(int64_t elements) {
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}

template <typename T>
void fill_normal(T* values, int64_t count, RandomKey key, double standard_deviation) {
  for (int64_t i = 0; i < count; ++i) {
    values[i] = static_cast<T>(standard_deviation * random_normal(key, static_cast<uint64_t>(i)));
  }
}

void initialize_master(const LogicalParameter& parameter, RandomKey key, double deviation) {
  at::Tensor master = parameter.column("master");
  if (parameter.initializer != Initializer::kNormal) {
    master.fill_(parameter.initializer == Initializer::kOnes ? 1.0 : 0.0);
  } else if (master.scalar_type() == at::kDouble) {
    fill_normal(master.data_ptr<double>(), master.numel(), key.with(parameter.name), deviation);
  } else {
    fill_normal(master.data_ptr<float>(), master.numel(), key.with(parameter.name), deviation);
  }
}

}  // namespace

int64_t LogicalParameter::numel() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

at::Tensor LogicalParameter::column(std::string_view column_name) const {
  return table->column(column_name).narrow(0, offset, numel()).view(shape);
}

ParameterRegistry::ParameterRegistry(int rank, int world_size, at::ScalarType wide_type)
    : rank_(rank),
      world_size_(world_size),
      wide_type_(wide_type) {}

const DenseParameter& ParameterRegistry::add_dense(const std::vector<StackMember>& members,
                                                   int64_t columns,
                                                   const DenseOptions& options) {
  ENODIA_CHECK(dense_ == nullptr, "dense parameters are added before allocate()");
  Stack& stack = stacks_.emplace_back(Stack{{}, dense_elements_, 0, columns});
  for (const StackMember& member : members) {
    LogicalParameter parameter;
    parameter.name = member.name;
    parameter.shape = columns > 0 ? std::vector<int64_t>{member.rows, columns}
                                  : std::vector<int64_t>{member.rows};
    parameter.decays = options.decays;
    parameter.initializer = options.initializer;
    parameter.offset = dense_elements_;
    dense_elements_ += parameter.numel();
    stack.rows += member.rows;
    parameters_.push_back(std::move(parameter));
  }
  dense_elements_ = aligned(dense_elements_);
  return stack.views;
}

void ParameterRegistry::add_owned(LogicalParameter parameter) {
  ENODIA_CHECK(dense_ == nullptr, "experts are added before allocate()");
  parameters_.push_back(std::move(parameter));
}

void ParameterRegistry::allocate() {
  dense_ = std::make_unique<ColumnTable>(dense_elements_, wide_type_);
  dense_->add_column("master", MemoryKind::kParameters);
  dense_->add_column("grad", MemoryKind::kGradients);
  for (Stack& stack : stacks_) {
    const std::vector<int64_t> shape = stack.columns > 0
                                           ? std::vector<int64_t>{stack.rows, stack.columns}
                                           : std::vector<int64_t>{stack.rows};
    const int64_t elements = stack.rows * std::max<int64_t>(stack.columns, 1);
    stack.views.value = dense_->column("master").narrow(0, stack.offset, elements).view(shape);
    stack.views.grad = dense_->column("grad").narrow(0, stack.offset, elements).view(shape);
  }
  std::sort(parameters_.begin(), parameters_.end(), [](const auto& a, const auto& b) {
    return a.name < b.name;
  });
  int dense_index = 0;
  for (LogicalParameter& parameter : parameters_) {
    if (parameter.table == nullptr) {
      parameter.table = dense_.get();
      parameter.owner = dense_index++ % world_size_;  // the work of saving and norms is shared out
    }
  }
  const auto twin =
      std::adjacent_find(parameters_.begin(), parameters_.end(), [](const auto& a, const auto& b) {
        return a.name == b.name;
      });
  ENODIA_CHECK(twin == parameters_.end(), "two parameters are named '", twin->name, "'");
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
               rank_);
  return *found;
}

const at::Tensor& ParameterRegistry::dense_gradients() const {
  return dense_->column("grad");
}

void ParameterRegistry::add_column(const std::string& name) {
  ENODIA_CHECK(dense_ != nullptr, "columns are added after allocate()");
  dense_->add_column(name, MemoryKind::kOptimizer);
  for (ColumnTable* table : adopted_) {
    table->add_column(name, MemoryKind::kOptimizer);
  }
}

void ParameterRegistry::zero_gradients() {
  dense_->column("grad").zero_();
  for (ColumnTable* table : adopted_) {
    table->column("grad").zero_();
  }
}

void ParameterRegistry::initialize(uint64_t seed, double standard_deviation) {
  const RandomKey key = RandomKey(seed).with("init");
  for (const LogicalParameter& parameter : parameters_) {
    initialize_master(parameter, key, standard_deviation);
  }
}

}  // namespace enodia
