"""What every service stands on."""

import os

# uvloop starts processes by fork and exec, and gRPC's own handlers wake its threads in between, where one of them
# may crash: the process then ends by SIGSEGV before it has begun. gRPC reads this once, when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
