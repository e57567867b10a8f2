#include "server/ops/http_server.h"

#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace pglessor::ops {
namespace {

constexpr unsigned kMaxConnections = 256;
constexpr size_t kConnectionBytes = 16 << 10;  // of memory for one: its request's head must fit
constexpr unsigned kSilenceSeconds = 5;
constexpr int kBacklog = 128;

absl::Status CannotListen(const std::string& address, absl::string_view why) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", why));
}

std::string ErrorText(int error) {
  char text[256] = "";
  // The GNU one, which may return another text than the buffer's.
  return strerror_r(error, text, sizeof text);
}

// A socket that listens where one of the host's addresses lets it; -1 and the last one's errno if none does.
int ListenOnOneOf(const addrinfo* candidates) {
  int error = EADDRNOTAVAIL;
  for (const addrinfo* each = candidates; each != nullptr; each = each->ai_next) {
    const int socket_fd =
        socket(each->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, each->ai_protocol);
    if (socket_fd >= 0) {
      const int on = 1;  // else the port of a server that has just ended stays taken
      setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      if (bind(socket_fd, each->ai_addr, each->ai_addrlen) == 0 && listen(socket_fd, kBacklog) == 0) {
        return socket_fd;
      }
    }
    error = errno;
    if (socket_fd >= 0) close(socket_fd);
  }
  errno = error;
  return -1;
}

absl::StatusOr<int> ListeningSocket(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return CannotListen(address, "expected HOST:PORT");
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), address.c_str() + colon + 1, &wanted, &found); error != 0) {
    return CannotListen(address, gai_strerror(error));
  }
  const int socket_fd = ListenOnOneOf(found);
  const int error = errno;
  freeaddrinfo(found);
  if (socket_fd < 0) return CannotListen(address, ErrorText(error));
  return socket_fd;
}

std::string BoundAddress(const std::string& address, int socket_fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  getsockname(socket_fd, reinterpret_cast<sockaddr*>(&bound), &size);
  // In both families the port stands in the same place.
  const int port = ntohs(reinterpret_cast<const sockaddr_in*>(&bound)->sin_port);
  return absl::StrCat(address.substr(0, address.rfind(':') + 1), port);
}

HttpPage PageOf(const HttpPages& pages, absl::string_view method, absl::string_view path) {
  const auto page = pages.find(std::string(path));
  if (page == pages.end()) return {.status = MHD_HTTP_NOT_FOUND, .body = "not found\n"};
  if (method != MHD_HTTP_METHOD_GET && method != MHD_HTTP_METHOD_HEAD) {
    return {.status = MHD_HTTP_METHOD_NOT_ALLOWED, .body = "only GET and HEAD\n"};
  }
  return page->second();
}

MHD_Result Answer(MHD_Connection* connection, const HttpPage& page) {
  // Copied; for a HEAD only its length goes out.
  MHD_Response* const response = MHD_create_response_from_buffer(
      page.body.size(), const_cast<char*>(page.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page.content_type.c_str());
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  MHD_add_response_header(response, MHD_HTTP_HEADER_X_CONTENT_TYPE_OPTIONS, "nosniff");
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  if (page.status == MHD_HTTP_METHOD_NOT_ALLOWED) {
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  }
  const MHD_Result queued = MHD_queue_response(connection, static_cast<unsigned>(page.status), response);
  MHD_destroy_response(response);  // the connection has a reference of its own
  return queued;
}

// Called when a request's head is there, before any of its body is read; the answer makes that unwanted.
MHD_Result OnRequest(void* pages, MHD_Connection* connection, const char* path, const char* method,
                     const char* /*version*/, const char* /*body*/, size_t* /*body_size*/, void** /*state*/) {
  return Answer(connection, PageOf(*static_cast<const HttpPages*>(pages), method, path));
}

}  // namespace

void HttpServer::StopDaemon::operator()(MHD_Daemon* daemon) const { MHD_stop_daemon(daemon); }

HttpServer::HttpServer(HttpPages pages) : pages_(std::move(pages)) {}

HttpServer::~HttpServer() { Stop(); }

absl::Status HttpServer::Listen(const std::string& address) {
  if (address.empty()) return absl::OkStatus();
  const absl::StatusOr<int> socket_fd = ListeningSocket(address);
  if (!socket_fd.ok()) return socket_fd.status();
  const std::string bound = BoundAddress(address, *socket_fd);
  daemon_.reset(MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, nullptr, nullptr, &OnRequest,
                                 const_cast<HttpPages*>(&pages_), MHD_OPTION_LISTEN_SOCKET, *socket_fd,
                                 MHD_OPTION_CONNECTION_LIMIT, kMaxConnections,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionBytes,
                                 MHD_OPTION_CONNECTION_TIMEOUT, kSilenceSeconds, MHD_OPTION_STRICT_FOR_CLIENT,
                                 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END));
  if (daemon_ == nullptr) return CannotListen(address, ErrorText(errno));
  address_ = bound;
  return absl::OkStatus();
}

void HttpServer::Stop() {
  daemon_.reset();
  address_.clear();
}

}  // namespace pglessor::ops
