"""What measures: one gauge a network, each giving all metrics that this network is good for."""
