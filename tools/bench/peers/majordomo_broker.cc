// A Majordomo broker (MDP 0.1) on libzmq: requests wait by service, and the worker that has waited longest gets the
// next one. Heartbeats go out every 2.5 s; a worker that was silent for three of them is gone. Usage: majordomo_broker
// URL.

#include <zmq.h>

#include <chrono>
#include <cstdio>
#include <deque>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Message = std::vector<std::string>;

constexpr auto kHeartbeat = std::chrono::milliseconds(2500);
constexpr int kLives = 3;

constexpr std::string_view kClientHeader = "MDPC01";
constexpr std::string_view kWorkerHeader = "MDPW01";
enum Command : char { kReady = 1, kRequest = 2, kReply = 3, kBeat = 4, kDisconnect = 5 };

struct Request {
  std::string client;
  std::string body;
};

struct Worker;

struct Service {
  std::string name;
  std::deque<Request> requests;
  std::list<Worker*> waiting;  // longest wait first
};

struct Worker {
  std::string address;
  Service* service = nullptr;
  std::list<Worker*>::iterator place;
  bool is_waiting = false;
  Clock::time_point expires;
};

class Broker {
 public:
  explicit Broker(void* socket) : socket_(socket), next_beat_(Clock::now() + kHeartbeat) {}

  void Run() {
    Message message;
    while (true) {
      const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(next_beat_ - Clock::now());
      zmq_pollitem_t item = {socket_, 0, ZMQ_POLLIN, 0};
      if (zmq_poll(&item, 1, std::max<long>(0, wait.count())) < 0) return;
      // All that is there, before the next look at the clock.
      while (Receive(message)) OnMessage(message);
      if (Clock::now() >= next_beat_) Beat();
    }
  }

 private:
  bool Receive(Message& message) {
    message.clear();
    while (true) {
      zmq_msg_t part;
      zmq_msg_init(&part);
      if (zmq_msg_recv(&part, socket_, ZMQ_DONTWAIT) < 0) return false;
      message.emplace_back(static_cast<const char*>(zmq_msg_data(&part)), zmq_msg_size(&part));
      const bool more = zmq_msg_more(&part) != 0;
      zmq_msg_close(&part);
      if (!more) return true;
    }
  }

  void Send(std::initializer_list<std::string_view> parts) {
    size_t left = parts.size();
    for (const std::string_view part : parts) zmq_send(socket_, part.data(), part.size(), --left > 0 ? ZMQ_SNDMORE : 0);
  }

  void SendTo(const Worker& worker, Command command) {
    Send({worker.address, "", kWorkerHeader, std::string_view(reinterpret_cast<const char*>(&command), 1)});
  }

  // address, nothing, header, and what the header asks for
  void OnMessage(Message& message) {
    if (message.size() < 4) return;
    if (message[2] == kClientHeader && message.size() == 5) {
      Service& service = ServiceOf(message[3]);
      service.requests.push_back({std::move(message[0]), std::move(message[4])});
      Dispatch(service);
    } else if (message[2] == kWorkerHeader && message[3].size() == 1) {
      OnWorker(message);
    }
  }

  void OnWorker(Message& message) {
    const auto found = workers_.find(message[0]);
    switch (message[3][0]) {
      case kReady:
        if (message.size() == 5 && found == workers_.end()) {
          Worker& worker = workers_[message[0]];
          worker.address = message[0];
          worker.service = &ServiceOf(message[4]);
          Wait(worker);
        }
        return;
      case kReply:
        if (found != workers_.end() && message.size() == 7) {
          Worker& worker = found->second;
          Send({message[4], "", kClientHeader, worker.service->name, message[6]});
          if (!worker.is_waiting) Wait(worker);
        }
        return;
      case kBeat:
        if (found != workers_.end()) found->second.expires = Clock::now() + kLives * kHeartbeat;
        return;
      case kDisconnect:
        if (found != workers_.end()) Remove(found->second);
        return;
      default:
        return;
    }
  }

  void Wait(Worker& worker) {
    worker.expires = Clock::now() + kLives * kHeartbeat;
    worker.is_waiting = true;
    worker.place = worker.service->waiting.insert(worker.service->waiting.end(), &worker);
    Dispatch(*worker.service);
  }

  void Dispatch(Service& service) {
    while (!service.requests.empty() && !service.waiting.empty()) {
      Worker& worker = *service.waiting.front();
      service.waiting.pop_front();
      worker.is_waiting = false;
      const Request request = std::move(service.requests.front());
      service.requests.pop_front();
      const char command = kRequest;
      Send({worker.address, "", kWorkerHeader, {&command, 1}, request.client, "", request.body});
    }
  }

  void Beat() {
    const Clock::time_point now = Clock::now();
    next_beat_ = now + kHeartbeat;
    std::vector<Worker*> gone;
    for (auto& [address, worker] : workers_) {
      if (!worker.is_waiting) continue;
      if (worker.expires < now) {
        gone.push_back(&worker);
      } else {
        SendTo(worker, kBeat);
      }
    }
    for (Worker* const worker : gone) Remove(*worker);
  }

  void Remove(Worker& worker) {
    if (worker.is_waiting) worker.service->waiting.erase(worker.place);
    workers_.erase(std::string(worker.address));
  }

  Service& ServiceOf(const std::string& name) {
    Service& service = services_[name];
    service.name = name;
    return service;
  }

  void* const socket_;
  Clock::time_point next_beat_;
  std::unordered_map<std::string, Service> services_;
  std::unordered_map<std::string, Worker> workers_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: majordomo_broker tcp://HOST:PORT\n");
    return 64;
  }
  void* const context = zmq_ctx_new();
  zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 20000);
  void* const socket = zmq_socket(context, ZMQ_ROUTER);
  const int unbounded = 0;
  const int backlog = 4096;
  zmq_setsockopt(socket, ZMQ_SNDHWM, &unbounded, sizeof(unbounded));
  zmq_setsockopt(socket, ZMQ_RCVHWM, &unbounded, sizeof(unbounded));
  zmq_setsockopt(socket, ZMQ_BACKLOG, &backlog, sizeof(backlog));
  if (zmq_bind(socket, argv[1]) != 0) {
    std::fprintf(stderr, "majordomo_broker: bind %s: %s\n", argv[1], zmq_strerror(zmq_errno()));
    return 1;
  }
  Broker(socket).Run();
}
