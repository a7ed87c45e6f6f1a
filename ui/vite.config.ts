import { defineConfig } from "vite";

/** Modules that Airflow's page shares as globals: the bundle for its tab holds no copy of them. */
const SHARED = {
  react: "React",
  "react-dom": "ReactDOM",
  "react/jsx-runtime": "ReactJSXRuntime",
  "react-router-dom": "ReactRouterDOM",
};

/** `vite build` makes the bundle for Airflow's own page, `vite build --mode frame` the one for a frame. */
export default defineConfig(({ mode }) => ({
  define: { "process.env.NODE_ENV": JSON.stringify("production") },
  build: {
    outDir: "../plugins/sqltune/ui/static",
    emptyOutDir: false,
    lib: {
      entry: mode === "frame" ? "src/frame.tsx" : "src/main.tsx",
      formats: ["iife" as const],
      name: "sqltune",
      fileName: () => (mode === "frame" ? "frame.js" : "sqltune.js"),
    },
    rollupOptions:
      mode === "frame" ? {} : { external: Object.keys(SHARED), output: { globals: SHARED } },
  },
}));
