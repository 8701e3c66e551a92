// The live exchanges of a channel by request id: each is linked where it stands, so that a request takes no memory
// here.

#ifndef RELAY_REGISTRY_EXCHANGE_INDEX_H_
#define RELAY_REGISTRY_EXCHANGE_INDEX_H_

#include <algorithm>
#include <boost/intrusive/unordered_set.hpp>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "proto/uuid.h"
#include "registry/exchange.h"

namespace relay::registry {

// Thread-compatible. An exchange is removed before it is freed, and keeps its id meanwhile.
class ExchangeIndex {
 public:
  ExchangeIndex() : set_(Traits(&first_bucket_, 1)) {}
  ExchangeIndex(const ExchangeIndex&) = delete;
  ExchangeIndex& operator=(const ExchangeIndex&) = delete;

  size_t size() const { return set_.size(); }

  Exchange* Find(const proto::Uuid& id) const {
    const auto found = set_.find(id);
    return found == set_.end() ? nullptr : const_cast<Exchange*>(&*found);
  }

  // The id is not in the index.
  void Add(Exchange& exchange) {
    if (set_.size() == set_.bucket_count()) Grow();
    set_.insert(exchange);
  }
  void Remove(Exchange& exchange) { set_.erase(set_.iterator_to(exchange)); }
  void Clear() { set_.clear(); }

  // O(n), in no order.
  std::vector<const Exchange*> All() const {
    std::vector<const Exchange*> all;
    for (const Exchange& exchange : set_) all.push_back(&exchange);
    return all;
  }

 private:
  struct IdOf {
    using type = proto::Uuid;
    const type& operator()(const Exchange& exchange) const { return exchange.id; }
  };
  using Set =
      boost::intrusive::unordered_set<Exchange,
                                      boost::intrusive::member_hook<Exchange, IndexHook, &Exchange::index_hook>,
                                      boost::intrusive::key_of_value<IdOf>, boost::intrusive::hash<proto::UuidHash>,
                                      boost::intrusive::power_2_buckets<true>>;
  using Bucket = Set::bucket_type;
  using Traits = Set::bucket_traits;

  // Twice the buckets, at least 8; O(n) for the first of n to come.
  void Grow() {
    const size_t count = std::max<size_t>(8, 2 * set_.bucket_count());
    auto grown = std::make_unique<Bucket[]>(count);
    set_.rehash(Traits(grown.get(), count));
    buckets_ = std::move(grown);
  }

  Bucket first_bucket_;  // of a channel that nobody sends on
  std::unique_ptr<Bucket[]> buckets_;
  Set set_;
};

}  // namespace relay::registry

#endif  // RELAY_REGISTRY_EXCHANGE_INDEX_H_
