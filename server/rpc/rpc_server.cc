#include "server/rpc/rpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>

#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "server/rpc/admission.h"
#include "server/rpc/call.h"
#include "server/rpc/health.h"
#include "server/rpc/services.h"
#include "server/rpc/tls.h"

namespace pglessor::rpc {
namespace {

constexpr int kMaxMessageBytes = 4 << 20;
constexpr int kMaxMetadataBytes = 16 << 10;
constexpr int kMaxStreams = 10'000;  // on one connection
// A vanished peer is found within their sum; pings more frequent than the last are abuse.
constexpr int kKeepaliveMilliseconds = 10'000;
constexpr int kKeepaliveTimeoutMilliseconds = 5'000;
constexpr int kMinPingMilliseconds = 9'000;

constexpr std::chrono::seconds kLastCallPatience(2);

class WithoutReflection : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const auto& plugin) { return plugin->name() == "proto_server_reflection"; });
  }
};

bool IsUnixSocket(const std::string& address) { return absl::StartsWith(address, "unix:"); }

std::string WithPort(const std::string& address, int port) {
  if (IsUnixSocket(address)) return address;
  return absl::StrCat(address.substr(0, address.rfind(':') + 1), port);
}

}  // namespace

struct RpcServer::State {
  explicit State(const Identities& identities) : admission(identities), calls(admission) {}

  const Admission admission;
  std::vector<std::unique_ptr<Service>> services;
  Health* health = nullptr;  // one of them
  CallQueue calls;
  std::unique_ptr<grpc::Server> server;
  core::EventHistory* history = nullptr;  // null until it serves
  std::thread thread;
};

RpcServer::RpcServer(RpcOptions options) : options_(std::move(options)), identities_(options_.identities) {}

RpcServer::~RpcServer() { Stop(std::chrono::milliseconds(0)); }

absl::Status RpcServer::Listen() {
  // Read by the next builder. (Linking reflection is enough to have it; this says that it is meant.)
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  auto state = std::make_unique<State>(identities_);
  grpc::ServerBuilder builder;
  std::vector<int> ports(options_.listen.size());
  const auto plain = grpc::InsecureServerCredentials();
  const auto over_tcp = options_.tls.cert.empty() ? plain : TlsCredentials(options_.tls);
  for (size_t i = 0; i < ports.size(); ++i) {
    builder.AddListeningPort(options_.listen[i], IsUnixSocket(options_.listen[i]) ? plain : over_tcp,
                             &ports[i]);
  }
  if (!options_.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  state->services.push_back(MakeLeaseService(options_.version));
  state->services.push_back(MakeSqlService());
  state->services.push_back(MakeOperatorService());
  auto health = std::make_unique<Health>();
  state->health = health.get();
  state->services.push_back(std::move(health));
  for (const auto& service : state->services) builder.RegisterService(&service->service());
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMilliseconds);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMilliseconds);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingMilliseconds);
  // Two servers on one port would each get some of the calls; a second one is to fail instead.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  state->calls.queue = builder.AddCompletionQueue();
  state->server = builder.BuildAndStart();
  for (size_t i = 0; i < ports.size(); ++i) {
    if (state->server == nullptr || ports[i] == 0) {
      // A unix socket has port 1. The first that has none is the one that failed.
      if (state->server != nullptr) state->server->Shutdown();
      state->calls.queue->Shutdown();
      state->calls.Run();
      size_t failed = 0;
      while (failed + 1 < ports.size() && ports[failed] != 0) ++failed;
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", options_.listen[failed],
                       ": expected HOST:PORT or unix:PATH, of this machine and not in use"));
    }
    addresses_.push_back(WithPort(options_.listen[i], ports[i]));
  }
  state_ = std::move(state);
  return absl::OkStatus();
}

void RpcServer::Serve(const Backend& backend) {
  state_->history = &backend.history;
  for (const auto& service : state_->services) service->Serve(state_->calls, backend);
  state_->thread = std::thread([this] { state_->calls.Run(); });
}

void RpcServer::SetServing(bool serving) { state_->health->SetServing(serving); }

void RpcServer::Stop(std::chrono::milliseconds grace) {
  if (state_ == nullptr) return;
  if (state_->history != nullptr) state_->history->Close();
  state_->health->Close();
  // The server, then the last call, then the queue: an operation on a queue that was shut down aborts. Calls
  // that are broken off have yet to finish when Shutdown returns.
  const auto now = std::chrono::system_clock::now();
  state_->server->Shutdown(now + grace);
  while (state_->thread.joinable() && state_->calls.objects > 0) {
    if (std::chrono::system_clock::now() > now + grace + kLastCallPatience) {
      // A call that nobody answers, which is a defect: the process is ending, and not through an abort.
      state_->thread.detach();
      (void)state_.release();
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  state_->calls.queue->Shutdown();
  if (state_->thread.joinable()) {
    state_->thread.join();
  } else {
    state_->calls.Run();
  }
  state_.reset();
}

}  // namespace pglessor::rpc
