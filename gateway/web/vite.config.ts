import { loadEnv } from "vite";
import { defineConfig } from "vitest/config";

// `npm run dev` serves the pages itself and asks a running stack for everything else.
const { REELMESH_URL, REELMESH_PORT = "8080" } = loadEnv("", ".", "REELMESH_");
const target = REELMESH_URL ?? `http://127.0.0.1:${REELMESH_PORT}`;

export default defineConfig({
  build: { target: "es2022", sourcemap: true, chunkSizeWarningLimit: 1000 },
  server: { port: 5173, proxy: { "^/(v1|media|reelmesh\\.)": { target, changeOrigin: true } } },
  test: { include: ["src/**/*.test.ts"] },
});
