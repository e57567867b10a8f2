// A small HTTP server for those who watch the service: pages by path, each made anew for every request, GET
// and HEAD only.
//
// One thread serves every connection by events, so that a silent or slow caller keeps nobody else waiting.
// Bounded: connections, the size of a request's head, and how long a caller may stay silent; a body is never
// read, and a connection ends with its answer.
//
// Threads: one thread uses it. Pages are made on the server's own, one at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"

struct MHD_Daemon;  // libmicrohttpd's

namespace pglessor::ops {

struct HttpPage {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

// By path. Each is made while everybody else waits: it must not block.
using HttpPages = std::map<std::string, std::function<HttpPage()>, std::less<>>;

class HttpServer {
 public:
  explicit HttpServer(HttpPages pages);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Serves on `address`, HOST:PORT, until Stop; port 0 picks one; where it is empty, nothing is served. Once.
  // Fails with: UNAVAILABLE, with the address that cannot be listened on and why.
  absl::Status Listen(const std::string& address);

  // As it is bound, with the port that 0 became; empty if it does not listen.
  const std::string& address() const { return address_; }

  // Returns when no page is being made any more. Answers under way are cut off.
  void Stop();

 private:
  struct StopDaemon {
    void operator()(MHD_Daemon* daemon) const;
  };

  const HttpPages pages_;
  std::string address_;
  std::unique_ptr<MHD_Daemon, StopDaemon> daemon_;  // null unless it listens; has the socket
};

}  // namespace pglessor::ops
