import { useCallback, useRef } from "react";
import { useSearchParams } from "react-router-dom";

export interface Address {
  params: URLSearchParams;
  /** Change parameters in place; null or an empty text takes one out. The function stays the same. */
  set: (changes: Record<string, string | null>) => void;
}

/** The parameters of the page's address: what is chosen stands there, and nowhere else. */
export function useAddress(): Address {
  const [params, setParams] = useSearchParams();
  const latest = useRef(setParams);
  latest.current = setParams;
  const set = useCallback((changes: Record<string, string | null>) => {
    latest.current(
      (old) => {
        for (const [name, value] of Object.entries(changes)) {
          if (value) old.set(name, value);
          else old.delete(name);
        }
        return old;
      },
      { replace: true },
    );
  }, []);
  return { params, set };
}
