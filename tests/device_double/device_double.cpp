#include "tests/device_double/device_double.h"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/ops/as_strided_cpu_dispatch.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

namespace enodia {
namespace {

DeviceMemory& memory() {
  return DeviceDouble::instance().memory;
}

/// An operation begins on the thread's current queue. A thread without one only looks at results.
void begin(const std::string& what) {
  if (DoubleQueue* queue = CurrentQueue::get()) {
    queue->begin(what);
  }
}

void synchronize() {
  if (DoubleQueue* queue = CurrentQueue::get()) {
    queue->synchronize();
  }
}

bool is_ours(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == c10::DeviceType::PrivateUse1;
}

// ---- what LibTorch wants of a device ----

class DoubleAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* const block = bytes > 0 ? memory().allocate(bytes) : nullptr;
    return {block, block, give_back, DeviceDouble::device()};
  }
  c10::DeleterFnPtr raw_deleter() const override { return give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(memory().open(to), memory().open(from), bytes);
  }

 private:
  static void give_back(void* block) {
    if (DoubleQueue* queue = CurrentQueue::get()) {
      queue->begin("giving back a tensor");
      queue->gives_back(block);
    } else {
      memory().free(block);
    }
  }
};

class DoubleGuard : public c10::impl::DeviceGuardImplInterface {
 public:
  static constexpr c10::DeviceType static_type = c10::DeviceType::PrivateUse1;
  c10::DeviceType type() const override { return static_type; }
  c10::Device exchangeDevice(c10::Device) const override { return DeviceDouble::device(); }
  c10::Device getDevice() const override { return DeviceDouble::device(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  // Kernels run at once: events are always done.
  void record(void** event,
              const c10::Stream&,
              const c10::DeviceIndex,
              const c10::EventFlag) const override {
    *event = nullptr;
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override { synchronize(); }
};

DoubleAllocator allocator;
const c10::impl::DeviceGuardImplRegistrar register_guard(c10::DeviceType::PrivateUse1,
                                                         new DoubleGuard);

struct RegisterAllocator {
  RegisterAllocator() { c10::SetAllocator(c10::DeviceType::PrivateUse1, &allocator); }
} const register_allocator;

// ---- kernels ----

at::Tensor empty(c10::SymIntArrayRef size,
                 std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout>,
                 std::optional<at::Device>,
                 std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size),
                                   &allocator,
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::kFloat),
                                   format);
}

at::Tensor empty_strided(c10::SymIntArrayRef size,
                         c10::SymIntArrayRef stride,
                         std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>,
                         std::optional<at::Device>,
                         std::optional<bool>) {
  return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(size),
                                           C10_AS_INTARRAYREF_SLOW(stride),
                                           &allocator,
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           dtype.value_or(at::kFloat));
}

void note_use(const at::Tensor& tensor, bool writes) {
  DoubleQueue* const queue = CurrentQueue::get();
  if (queue == nullptr || !is_ours(tensor) || tensor.numel() == 0) {
    return;
  }
  int64_t elements = 1;  // from the first to the last, with what lies between
  for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
    elements += (tensor.size(dim) - 1) * tensor.stride(dim);
  }
  queue->uses(tensor.const_data_ptr(), static_cast<size_t>(elements) * tensor.itemsize(), writes);
}

/// The same elements, as the CPU's kernels may have them.
at::Tensor opened(const at::Tensor& tensor) {
  if (!is_ours(tensor)) {
    return tensor;
  }
  return at::from_blob(memory().open(tensor.data_ptr()),
                       tensor.sizes(),
                       tensor.strides(),
                       tensor.options().device(at::kCPU));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool /*non_blocking*/) {
  begin("copy_");
  note_use(from, /*writes=*/false);
  note_use(to, /*writes=*/true);
  if (from.numel() > 0) {
    DeviceDouble::count_copy(is_ours(from), is_ours(to));
  }
  opened(to).copy_(opened(from));
  if (!is_ours(to)) {
    synchronize();
  }
  return to;
}

at::Scalar local_scalar_dense(const at::Tensor& self) {
  begin("item");
  note_use(self, /*writes=*/false);
  synchronize();
  DeviceDouble::count_copy(/*from_device=*/true, /*to_device=*/false);
  return opened(self).item();
}

at::Tensor as_strided(const at::Tensor& self,
                      c10::SymIntArrayRef size,
                      c10::SymIntArrayRef stride,
                      std::optional<c10::SymInt> offset) {
  return at::cpu::as_strided_symint(self, size, stride, offset);
}

at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef size) {
  return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size));
}

/// "aten::add.out": what runs, for messages.
std::string name_of(const c10::OperatorHandle& op) {
  return c10::toString(op.operator_name());
}

class Arguments {
 public:
  Arguments(const c10::OperatorHandle& op, torch::jit::Stack& stack) : op_(op) {
    const auto& schema = op.schema();
    first_ = stack.size() - schema.arguments().size();
    for (size_t i = first_; i < stack.size(); ++i) {
      originals_.push_back(stack[i]);
      const c10::AliasInfo* alias = schema.arguments()[i - first_].alias_info();
      note_uses(stack[i], alias != nullptr && alias->isWrite());
      opened_.push_back(opened_value(stack[i]));
      stack[i] = opened_.back();
    }
  }

  /// The original of what the CPU's kernel has given back: an argument, or a new tensor.
  c10::IValue closed(const c10::IValue& value, const c10::AliasInfo* alias) const {
    if (value.isTensor() && value.toTensor().defined()) {
      const at::Tensor& made = value.toTensor();
      return alias != nullptr && alias->isWrite() ? written(argument_of(*alias), made)
                                                  : moved(made);
    }
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& tensor : value.toTensorVector()) {
        list.push_back(moved(tensor));
      }
      return list;
    }
    return value;
  }

 private:
  static void note_uses(const c10::IValue& value, bool writes) {
    if (value.isTensor()) {
      note_use(value.toTensor(), writes);
    } else if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) {
        note_use(tensor, writes);
      }
    } else if (value.isOptionalTensorList()) {
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
        note_use(tensor.value_or(at::Tensor()), writes);
      }
    }
  }

  at::Tensor checked(const at::Tensor& tensor) const {
    if (tensor.defined() && !is_ours(tensor) && tensor.dim() > 0) {
      throw std::logic_error(name_of(op_) + " got a tensor of the host beside those of the device");
    }
    if (is_ours(tensor) && tensor.numel() == 0) {
      return at::empty_like(tensor, at::kCPU);  // can be resized
    }
    return opened(tensor);
  }

  c10::IValue opened_value(const c10::IValue& value) const {
    if (value.isTensor()) {
      return checked(value.toTensor());
    }
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& tensor : value.toTensorVector()) {
        list.push_back(checked(tensor));
      }
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
        list.push_back(tensor ? std::optional(checked(*tensor)) : std::nullopt);
      }
      return list;
    }
    if (value.isDevice()) {
      return c10::Device(at::kCPU);
    }
    return value;
  }

  at::Tensor argument_of(const c10::AliasInfo& alias) const {
    const auto& declared = op_.schema().arguments();
    for (size_t i = 0; i < declared.size(); ++i) {
      const c10::AliasInfo* own = declared[i].alias_info();
      if (own != nullptr && own->isWrite() && own->beforeSets() == alias.beforeSets()) {
        return originals_[i].toTensor();
      }
    }
    throw std::logic_error(name_of(op_) + " writes to no argument");
  }

  /// The argument, which an operation has written, perhaps in another size than it came.
  at::Tensor written(const at::Tensor& argument, const at::Tensor& made) const {
    if (argument.sizes() != made.sizes()) {
      argument.unsafeGetTensorImpl()->shallow_copy_from(moved(made).getIntrusivePtr());
    }
    return argument;
  }

  /// To the device, or a view of what is there already.
  at::Tensor moved(const at::Tensor& made) const {
    for (const c10::IValue& value : originals_) {
      if (value.isTensor() && is_ours(value.toTensor()) && made.storage().data() != nullptr) {
        const at::Tensor& original = value.toTensor();
        if (memory().open(original.const_data_ptr()) == made.storage().data()) {
          return original.as_strided(
              made.sizes(), made.strides(), original.storage_offset() + made.storage_offset());
        }
      }
    }
    const at::Tensor there = at::empty_strided(
        made.sizes(), made.strides(), made.options().device(DeviceDouble::device()));
    note_use(there, /*writes=*/true);
    opened(there).copy_(made);
    return there;
  }

  const c10::OperatorHandle& op_;
  size_t first_ = 0;
  std::vector<c10::IValue> originals_;
  // A kernel that writes to an argument gives back a reference to it, which LibTorch reads after it
  // has taken the arguments off the stack: somebody else must hold them.
  std::vector<c10::IValue> opened_;
};

void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  begin(name_of(op));
  const Arguments arguments(op, *stack);
  op.callBoxed(stack);
  const auto& returns = op.schema().returns();
  const size_t first = stack->size() - returns.size();
  for (size_t i = 0; i < returns.size(); ++i) {
    (*stack)[first + i] = arguments.closed((*stack)[first + i], returns[i].alias_info());
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("_copy_from", &copy_from);
  m.impl("_local_scalar_dense", &local_scalar_dense);
  m.impl("as_strided", &as_strided);
  m.impl("view", &view);
}

namespace {

thread_local DeviceDouble::Copies copies_of_thread;

}  // namespace

const DeviceDouble::Copies& DeviceDouble::copies() {
  return copies_of_thread;
}

void DeviceDouble::count_copy(bool from_device, bool to_device) {
  copies_of_thread.to_host += from_device && !to_device ? 1 : 0;
  copies_of_thread.from_host += !from_device && to_device ? 1 : 0;
}

std::vector<std::string> DeviceDouble::take_races() {
  const std::lock_guard lock(mutex_);
  checker_ = {};
  actors_ = 0;
  return std::exchange(races_, {});
}

DeviceDouble& DeviceDouble::instance() {
  static auto& device = *new DeviceDouble;
  return device;
}

}  // namespace enodia
