#include "collectives/nccl/nccl_communicator.h"

#include <utility>

#include "collectives/backend.h"
#include "collectives/reduce.h"
#include "collectives/run_together.h"
#include "common/check.h"

namespace enodia {
namespace {

ncclDataType_t nccl_type(DType dtype) {
  switch (dtype) {
    case DType::kUInt8:
      return ncclUint8;
    case DType::kInt32:
      return ncclInt32;
    case DType::kInt64:
      return ncclInt64;
    case DType::kFloat32:
      return ncclFloat32;
    case DType::kFloat64:
      return ncclFloat64;
    case DType::kBFloat16:
      return ncclBfloat16;
  }
  throw UsageError(detail::concat("NCCL has no type for dtype ", static_cast<int>(dtype)));
}

ncclRedOp_t nccl_op(ReduceOp op) {
  return op == ReduceOp::kSum ? ncclSum : op == ReduceOp::kMin ? ncclMin : ncclMax;
}

bool is_floating(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kBFloat16;
}

/// The calls between construction and finish() are launched together.
class NcclGroup {
 public:
  explicit NcclGroup(const NcclTable& nccl) : nccl_(nccl) {
    nccl_.check(nccl_.group_start(), "ncclGroupStart");
  }
  ~NcclGroup() {
    if (open_) {
      nccl_.group_end();  // an exception is on its way, which says more
    }
  }
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;
  void finish() {
    open_ = false;
    nccl_.check(nccl_.group_end(), "ncclGroupEnd");
  }

 private:
  const NcclTable& nccl_;
  bool open_ = true;
};

/// Messages that NCCL carries: of elements, to and from others.
std::vector<Message> messages_of_others(std::span<const Message> messages, int rank) {
  std::vector<Message> others;
  for (const Message& message : messages) {
    if (message.peer != rank && message.buffer.count > 0) {
      others.push_back(message);
    }
  }
  return others;
}

}  // namespace

NcclCommunicator::NcclCommunicator(std::shared_ptr<NcclLink> link,
                                   std::unique_ptr<Communicator> host)
    : link_(std::move(link)),
      host_(std::move(host)),
      token_(allocate(link_->queue(), sizeof(int32_t))) {}

void NcclCommunicator::check_memory(const Buffer& buffer) const {
  ENODIA_CHECK(buffer.count == 0 || buffer.device == link_->device().index(),
               "a buffer of ",
               describe(buffer),
               " on device ",
               buffer.device,
               " (-1 = host) was given to a NCCL communicator, which moves memory of device ",
               link_->device().index(),
               "; move it there, or use a communicator for host memory");
}

Work NcclCommunicator::exchange(std::span<const Message> sends,
                                std::span<const Message> receives,
                                const Queue& after) {
  check_messages(sends, receives, world_size());
  for (const auto& messages : {sends, receives}) {
    for (const Message& message : messages) {
      check_memory(message.buffer);
    }
  }
  const OwnMessages own = own_messages(sends, receives, rank());
  const std::vector<Message> outgoing = messages_of_others(sends, rank());
  const std::vector<Message> incoming = messages_of_others(receives, rank());
  if (own.empty() && outgoing.empty() && incoming.empty()) {
    link_->pass("exchange");
    return Work();
  }
  return link_->launch("exchange", after, buffers_of(sends, receives), [&] {
    queue_messages(own, outgoing, incoming);
  });
}

void NcclCommunicator::queue_messages(const OwnMessages& own,
                                      std::span<const Message> sends,
                                      std::span<const Message> receives) {
  for (const auto& [from, to] : own) {
    link_->queue().copy(to.data, from.data, static_cast<size_t>(from.bytes()));
  }
  if (sends.empty() && receives.empty()) {
    return;
  }
  const NcclTable& nccl = link_->nccl();
  NcclGroup group(nccl);
  for (const auto& [peer, buffer, part] : receives) {
    nccl.check(nccl.recv(buffer.data,
                         static_cast<size_t>(buffer.count),
                         nccl_type(buffer.dtype),
                         peer,
                         link_->comm(),
                         link_->stream()),
               "ncclRecv");
  }
  for (const auto& [peer, buffer, part] : sends) {
    nccl.check(nccl.send(buffer.data,
                         static_cast<size_t>(buffer.count),
                         nccl_type(buffer.dtype),
                         peer,
                         link_->comm(),
                         link_->stream()),
               "ncclSend");
  }
  group.finish();
}

Work NcclCommunicator::all_reduce(Buffer inout, ReduceOp op, const Queue& after) {
  const Message message{rank(), inout};
  check_messages({&message, 1}, {}, world_size());
  check_memory(inout);
  if (inout.count == 0) {
    link_->pass("all_reduce");
    return Work();
  }
  if (op != ReduceOp::kSum && is_floating(inout.dtype)) {
    return all_reduce_through_host(std::move(inout), op, after);
  }
  return link_->launch("all_reduce", after, {inout}, [&] { queue_all_reduce(inout, op); });
}

void NcclCommunicator::queue_all_reduce(const Buffer& inout, ReduceOp op) {
  link_->nccl().check(link_->nccl().all_reduce(inout.data,
                                               inout.data,
                                               static_cast<size_t>(inout.count),
                                               nccl_type(inout.dtype),
                                               nccl_op(op),
                                               link_->comm(),
                                               link_->stream()),
                      "ncclAllReduce");
}

// Every rank gets all ranks' values and combines them alike. Blocks until the result is there.
Work NcclCommunicator::all_reduce_through_host(Buffer inout, ReduceOp op, const Queue& after) {
  const auto world = static_cast<size_t>(world_size());
  const auto bytes = static_cast<size_t>(inout.bytes());
  const Queue queue = link_->queue();
  const std::shared_ptr<void> gathered = allocate(queue, world * bytes);
  std::byte* staging = link_->staging(world * bytes);
  std::vector<Message> sends;
  std::vector<Message> receives;
  std::vector<const std::byte*> contributions;
  Buffer all = inout;
  all.data = gathered.get();
  for (int peer = 0; peer < world_size(); ++peer) {
    sends.push_back({peer, inout});
    receives.push_back({peer, all.slice(peer * inout.count, inout.count)});
    contributions.push_back(staging + static_cast<size_t>(peer) * bytes);
  }
  link_
      ->launch("all_reduce",
               after,
               {inout},
               [&] {
                 queue_messages(own_messages(sends, receives, rank()),
                                messages_of_others(sends, rank()),
                                messages_of_others(receives, rank()));
                 queue.copy(staging, gathered.get(), world * bytes);
               })
      .wait();
  reduce_in_order(contributions, staging, inout.count, inout.dtype, op);
  queue.copy(inout.data, staging, bytes);
  link_->wait_on_host(QueueEvent(queue));
  return Work();
}

Work NcclCommunicator::broadcast(Buffer inout, int root, const Queue& after) {
  const Message message{root, inout};
  check_messages({&message, 1}, {}, world_size());
  check_memory(inout);
  if (inout.count == 0) {
    link_->pass("broadcast");
    return Work();
  }
  return link_->launch("broadcast", after, {inout}, [&] {
    link_->nccl().check(link_->nccl().broadcast(inout.data,
                                                inout.data,
                                                static_cast<size_t>(inout.count),
                                                nccl_type(inout.dtype),
                                                root,
                                                link_->comm(),
                                                link_->stream()),
                        "ncclBroadcast");
  });
}

void NcclCommunicator::barrier() {
  const Buffer token{token_.get(), 1, DType::kInt32, link_->device().index()};
  link_->launch("barrier", Queue(), {token}, [&] { queue_all_reduce(token, ReduceOp::kSum); })
      .wait();
}

std::unique_ptr<Communicator> NcclCommunicator::split(int color, int key) {
  ENODIA_CHECK(color >= 0, "a color is not negative, but ", color, " was given");
  auto host = host_->split(color, key);
  return std::make_unique<NcclCommunicator>(link_->split(color, key), std::move(host));
}

std::unique_ptr<Communicator> make_nccl_communicator(const NcclTable& nccl,
                                                     CudaDevice& device,
                                                     NcclEnqueuer& enqueuer,
                                                     std::unique_ptr<Communicator> host) {
  ncclUniqueId id{};
  run_together(*host, [&] {
    if (host->rank() == 0) {
      nccl.check(nccl.get_unique_id(&id), "ncclGetUniqueId");
    }
  });
  host->broadcast(Buffer{&id, sizeof(id), DType::kUInt8}, 0).wait();
  auto link =
      std::make_shared<NcclLink>(nccl, device, enqueuer, id, host->world_size(), host->rank());
  return std::make_unique<NcclCommunicator>(std::move(link), std::move(host));
}

}  // namespace enodia
