// What chapter 404 says of Go, run.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"
)

type db struct{ open, most int }

var lock sync.Mutex

type conn struct{ db *db }

func (c conn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("no statements") }
func (c conn) Begin() (driver.Tx, error)           { return nil, errors.New("no transactions") }
func (c conn) Close() error {
	lock.Lock()
	defer lock.Unlock()
	c.db.open--
	return nil
}
func (d *db) Driver() driver.Driver { return nil }
func (d *db) Connect(context.Context) (driver.Conn, error) {
	lock.Lock()
	defer lock.Unlock()
	d.open++
	if d.open > d.most {
		d.most = d.open
	}
	return conn{d}, nil
}

func main() {
	channelPool()
	sqlPool()
	transport := http.DefaultTransport.(*http.Transport)
	fmt.Printf("http.DefaultTransport: MaxConnsPerHost %d, MaxIdleConnsPerHost %d (the default of 0 is %d)\n",
		transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost, http.DefaultMaxIdleConnsPerHost)
	cleanup()
}

func channelPool() {
	pool := make(chan int, 10)
	dials := 0
	for i := 0; i < 1000; i++ { // 1,000 callers, none of which has finished yet
		select {
		case <-pool:
		default:
			dials++
		}
	}
	fmt.Printf("a channel of 10 with a default branch: 1000 callers at once, %d dials\n", dials)
	pool <- 7
	pool <- 7
	fmt.Printf("a connection sent twice is in the channel %d times\n", len(pool))
}

func sqlPool() {
	d := &db{}
	pool := sql.OpenDB(d)
	var held []*sql.Conn
	for i := 0; i < 100; i++ {
		c, err := pool.Conn(context.Background())
		if err != nil {
			panic(err)
		}
		held = append(held, c)
	}
	for _, c := range held {
		c.Close()
	}
	fmt.Printf("sql.DB with its defaults: 100 connections at once, most open %d, idle afterwards %d\n",
		d.most, pool.Stats().Idle)
	pool.SetMaxOpenConns(1)
	c, _ := pool.Conn(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := pool.Conn(ctx)
	fmt.Println("the second of 1, with a timeout:", err)
	c.Close()
}

type lease struct{ number *int }

func cleanup() {
	done := make(chan string, 2)
	func() {
		careful := &lease{new(int)}
		runtime.SetFinalizer(careful, func(*lease) { done <- "a finalizer that does not capture its object has run" })
		careless := &lease{new(int)}
		runtime.SetFinalizer(careless, func(*lease) { done <- fmt.Sprint("a finalizer that captures it has run ", careless.number) })
	}()
	for i := 0; i < 20; i++ {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
	}
	for {
		select {
		case text := <-done:
			fmt.Println(text)
		default:
			fmt.Println("no other finalizer has run after 20 collections")
			return
		}
	}
}
