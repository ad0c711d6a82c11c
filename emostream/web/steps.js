/** The way of a reaction in steps, for a talk: what each part does, and which boxes it is about. */

export const STEPS = [
  {
    title: "A viewer taps",
    text: "Thousands watch the same match. A tap is one HTTP request with an emoji; taps of 150 ms share a request.",
    boxes: ["viewers"],
  },
  {
    title: "Ingest takes it, and says so only when it is safe",
    text: "Flask answers 202 once all in-sync replicas of Kafka have the reaction. From here on it counts exactly once.",
    boxes: ["ingest", "reactions"],
  },
  {
    title: "The log of reactions",
    text: "Kafka keeps each reaction in order and numbers it. Nothing is removed when it is read. What waits here is not counted yet.",
    boxes: ["reactions"],
  },
  {
    title: "A micro-batch",
    text: "The bucket fills for two seconds. Then Spark counts all of it at once: one swarm, with the exact number of each emoji.",
    boxes: ["reactions", "aggregator"],
  },
  {
    title: "Result and progress in one write",
    text: "The record of a swarm also holds how far the reactions are counted. So a restart neither repeats a batch nor leaves one out.",
    boxes: ["aggregator", "swarms"],
  },
  {
    title: "A stand-by waits",
    text: "If the leading aggregator dies, another one is elected, reads the last swarm, and goes on behind it.",
    boxes: ["aggregator", "zookeeper"],
  },
  {
    title: "Publishers copy the swarms to each cluster",
    text: "A cluster has a log of its own, so its subscribers need not read the central one, and can be anywhere.",
    boxes: ["swarms", "publisher", "log"],
  },
  {
    title: "Subscribers hold the viewers",
    text: "Each writes every swarm to each of its viewers, over SSE or a WebSocket, and keeps ten minutes for those that come back.",
    boxes: ["log", "subscriber", "viewers"],
  },
  {
    title: "Who is there",
    text: "Each process registers in ZooKeeper, and its entry goes when it dies. The registry tells a viewer which subscriber has room.",
    boxes: ["registry", "zookeeper", "viewers"],
  },
  {
    title: "Kill one",
    text: "What is on the way grows, and comes down again. Lost and doubled stay 0, whichever process you choose.",
    boxes: null,
  },
];
