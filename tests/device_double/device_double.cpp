#include "tests/device_double/device_double.h"

#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/ops/as_strided_cpu_dispatch.h>
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

void catch_up() {
  if (DoubleQueue* queue = DoubleQueue::current()) {
    queue->catch_up();
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
    catch_up();
    memory().free(block);
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
  void synchronizeStream(const c10::Stream&) const override { catch_up(); }
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
  catch_up();
  auto& device = DeviceDouble::instance();
  if (from.numel() > 0) {
    device.copies_to_host += is_ours(from) && !is_ours(to) ? 1 : 0;
    device.copies_from_host += !is_ours(from) && is_ours(to) ? 1 : 0;
  }
  opened(to).copy_(opened(from));
  return to;
}

at::Scalar local_scalar_dense(const at::Tensor& self) {
  catch_up();
  ++DeviceDouble::instance().copies_to_host;
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
      stack[i] = opened_value(stack[i]);
    }
  }

  /// The original of what the CPU's kernel has given back: an argument, or a new tensor.
  c10::IValue closed(const c10::IValue& value, const c10::AliasInfo* alias) const {
    if (value.isTensor() && value.toTensor().defined()) {
      return alias != nullptr && alias->isWrite() ? c10::IValue(argument_of(*alias))
                                                  : c10::IValue(moved(value.toTensor()));
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
  at::Tensor checked(const at::Tensor& tensor) const {
    if (tensor.defined() && !is_ours(tensor) && tensor.dim() > 0) {
      throw std::logic_error(name_of(op_) + " got a tensor of the host beside those of the device");
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

  /// To the device.
  at::Tensor moved(const at::Tensor& made) const {
    for (const c10::IValue& original : originals_) {
      if (original.isTensor() && is_ours(original.toTensor()) && made.numel() > 0 &&
          memory().open(original.toTensor().storage().mutable_data()) ==
              made.storage().mutable_data()) {
        throw std::logic_error(name_of(op_) + " makes a view, which the double does not know");
      }
    }
    const at::Tensor there = at::empty_strided(
        made.sizes(), made.strides(), made.options().device(DeviceDouble::device()));
    opened(there).copy_(made);
    return there;
  }

  const c10::OperatorHandle& op_;
  size_t first_ = 0;
  std::vector<c10::IValue> originals_;
};

void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  catch_up();
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

DeviceDouble& DeviceDouble::instance() {
  static auto& device = *new DeviceDouble;
  return device;
}

}  // namespace enodia
