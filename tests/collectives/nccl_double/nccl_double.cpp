#include "tests/collectives/nccl_double/nccl_double.h"

#include <utility>

namespace enodia {
namespace {

NcclDouble* current = nullptr;

FakeCuda& cuda() {
  return current->fake_cuda();
}
FakeNccl& nccl() {
  return current->fake_nccl();
}
FakeStream* fake(cudaStream_t stream) {
  return reinterpret_cast<FakeStream*>(stream);
}
FakeEvent* fake(cudaEvent_t event) {
  return reinterpret_cast<FakeEvent*>(event);
}
FakeCommunicator* fake(ncclComm_t comm) {
  return reinterpret_cast<FakeCommunicator*>(comm);
}

/// The calls of the group that the thread has open.
struct OpenGroup {
  int depth = 0;
  std::vector<FakeCall> calls;
};

OpenGroup& open_group() {
  thread_local OpenGroup group;
  return group;
}

ncclResult_t end_group() {
  OpenGroup& group = open_group();
  if (--group.depth == 0 && !group.calls.empty()) {
    nccl().launch(std::exchange(group.calls, {}));
  }
  return ncclSuccess;
}

ncclResult_t call(FakeCall fake_call) {
  ++open_group().depth;  // a call alone is a group of one
  open_group().calls.push_back(fake_call);
  return end_group();
}

}  // namespace

NcclDouble::NcclDouble(const FakeOptions& options) : fake_cuda_(options), fake_nccl_(fake_cuda_) {
  current = this;
}

NcclDouble::~NcclDouble() {
  errors();  // idle: streams use both fakes
  current = nullptr;
}

std::string NcclDouble::leftovers() {
  const size_t communicators = fake_nccl_.communicators();
  const std::string rest = fake_cuda_.leftovers();
  return communicators == 0 ? rest : std::to_string(communicators) + " communicators, " + rest;
}

int NcclDouble::open_groups() {
  return open_group().depth;
}

CudaTable NcclDouble::cuda() {
  return CudaTable{
      .runtime_get_version = [](int* version) { return *version = CUDART_VERSION, cudaSuccess; },
      .get_device_count = [](int* count) { return *count = 8, cudaSuccess; },
      .get_device = [](int* device) { return *device = fake_current_device(), cudaSuccess; },
      .set_device = [](int device) { return fake_current_device() = device, cudaSuccess; },
      .stream_create_with_priority =
          [](cudaStream_t* stream, unsigned int, int) {
            FakeStream* made = enodia::cuda().make_stream(fake_current_device());
            *stream = reinterpret_cast<cudaStream_t>(made);
            return cudaSuccess;
          },
      .stream_destroy =
          [](cudaStream_t stream) { return enodia::cuda().end_stream(fake(stream)), cudaSuccess; },
      .stream_wait_event =
          [](cudaStream_t stream, cudaEvent_t event, unsigned int) {
            return enodia::cuda().wait(fake(stream), fake(event)), cudaSuccess;
          },
      .event_create_with_flags =
          [](cudaEvent_t* event, unsigned int) {
            FakeEvent* made = enodia::cuda().make_event(fake_current_device());
            *event = reinterpret_cast<cudaEvent_t>(made);
            return cudaSuccess;
          },
      .event_record =
          [](cudaEvent_t event, cudaStream_t stream) {
            return enodia::cuda().record(fake(event), fake(stream)), cudaSuccess;
          },
      .event_query =
          [](cudaEvent_t event) {
            return enodia::cuda().query(fake(event)) ? cudaSuccess : cudaErrorNotReady;
          },
      .event_synchronize =
          [](cudaEvent_t event) { return enodia::cuda().synchronize(fake(event)), cudaSuccess; },
      .event_destroy =
          [](cudaEvent_t event) { return enodia::cuda().end_event(fake(event)), cudaSuccess; },
      .memcpy_async =
          [](void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
            return enodia::cuda().copy(fake(stream), to, from, bytes), cudaSuccess;
          },
      .malloc_async =
          [](void** memory, size_t bytes, cudaStream_t stream) {
            return *memory = enodia::cuda().allocate(fake(stream), bytes), cudaSuccess;
          },
      .free_async =
          [](void* memory, cudaStream_t stream) {
            return enodia::cuda().free(fake(stream), memory), cudaSuccess;
          },
      .pointer_get_attributes =
          [](cudaPointerAttributes* attributes, const void* memory) {
            attributes->type = enodia::cuda().is_on_device(memory) ? cudaMemoryTypeDevice
                                                                   : cudaMemoryTypeUnregistered;
            return cudaSuccess;
          },
      .get_error_string = [](cudaError_t) { return "an error of the double"; },
  };
}

NcclTable NcclDouble::nccl() {
  return NcclTable{
      .get_version = [](int* version) { return *version = NCCL_VERSION_CODE, ncclSuccess; },
      .get_unique_id = [](ncclUniqueId* id) { return *id = enodia::nccl().make_id(), ncclSuccess; },
      .comm_init_rank_config =
          [](ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t*) {
            *comm = reinterpret_cast<ncclComm_t>(enodia::nccl().join(id, ranks, rank));
            return ncclSuccess;
          },
      .comm_split =
          [](ncclComm_t comm, int color, int key, ncclComm_t* part, ncclConfig_t*) {
            *part = reinterpret_cast<ncclComm_t>(enodia::nccl().split(fake(comm), color, key));
            return ncclSuccess;
          },
      .comm_destroy =
          [](ncclComm_t comm) { return enodia::nccl().end(fake(comm), false), ncclSuccess; },
      .comm_abort =
          [](ncclComm_t comm) { return enodia::nccl().end(fake(comm), true), ncclSuccess; },
      .comm_get_async_error =
          [](ncclComm_t comm, ncclResult_t* error) {
            return *error = enodia::nccl().error_of(fake(comm)), ncclSuccess;
          },
      .group_start = [] { return ++open_group().depth, ncclSuccess; },
      .group_end = [] { return end_group(); },
      .send =
          [](const void* from,
             size_t count,
             ncclDataType_t type,
             int peer,
             ncclComm_t comm,
             cudaStream_t stream) {
            return call({FakeCall::Kind::kSend,
                         from,
                         nullptr,
                         count,
                         type,
                         peer,
                         ncclSum,
                         fake(comm),
                         fake(stream)});
          },
      .recv =
          [](void* to,
             size_t count,
             ncclDataType_t type,
             int peer,
             ncclComm_t comm,
             cudaStream_t stream) {
            return call({FakeCall::Kind::kReceive,
                         nullptr,
                         to,
                         count,
                         type,
                         peer,
                         ncclSum,
                         fake(comm),
                         fake(stream)});
          },
      .all_reduce =
          [](const void* from,
             void* to,
             size_t count,
             ncclDataType_t type,
             ncclRedOp_t op,
             ncclComm_t comm,
             cudaStream_t stream) {
            return call({FakeCall::Kind::kAllReduce,
                         from,
                         to,
                         count,
                         type,
                         -1,
                         op,
                         fake(comm),
                         fake(stream)});
          },
      .broadcast =
          [](const void* from,
             void* to,
             size_t count,
             ncclDataType_t type,
             int root,
             ncclComm_t comm,
             cudaStream_t stream) {
            return call({FakeCall::Kind::kBroadcast,
                         from,
                         to,
                         count,
                         type,
                         root,
                         ncclSum,
                         fake(comm),
                         fake(stream)});
          },
      .get_error_string = [](ncclResult_t) { return "an error of the double"; },
  };
}

}  // namespace enodia
